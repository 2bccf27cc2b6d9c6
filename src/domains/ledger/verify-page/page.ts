import { readVerifierKey } from '../signed-note.ts';
import { verifyBundle, type Verification } from '../verify-bundle.ts';

/*
 * The page /verify: the verifier of `npx defarm verify`, in a browser. Nothing that is dropped here leaves it.
 */

const marks = { holds: '✓', fails: '✗', 'not checked': '–' } as const;

function element<Kind extends HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

const file = element<HTMLInputElement>('file');
const keys = element<HTMLTextAreaElement>('keys');
const accounts = element<HTMLTextAreaElement>('accounts');
const drop = element('drop');
const summary = element('summary');
const steps = element('steps');
let proof: { readonly name: string; readonly text: string } | undefined;

const linesOf = ({ value }: HTMLTextAreaElement) => value.split(/\s+/).filter((line) => line !== '');

async function check(): Promise<void> {
  if (!proof) return;
  const texts = linesOf(keys);
  const read = texts.map((text) => readVerifierKey(text));
  const wrong = texts[read.indexOf(undefined)];
  if (wrong !== undefined) return show('fails', `This is no verifier key: ${wrong}`, []);
  const trusted = read.filter((key) => key !== undefined);
  const verdict = await verifyBundle(proof.text, { keys: trusted, accounts: linesOf(accounts) });
  const isRefused = verdict.steps.some(({ result }) => result === 'fails');
  const result = isRefused ? 'fails' : verdict.authenticated ? 'holds' : 'not checked';
  show(result, `${proof.name}: ${verdict.summary}`, verdict.steps);
}

function show(result: keyof typeof marks, text: string, told: Verification['steps']): void {
  summary.textContent = text;
  summary.dataset['result'] = result;
  steps.replaceChildren(
    ...told.map((each) => {
      const row = document.createElement('tr');
      row.dataset['result'] = each.result;
      row.dataset['step'] = each.step;
      for (const cell of [`${marks[each.result]} ${each.result}`, each.step, each.detail]) {
        const column = document.createElement('td');
        column.textContent = cell;
        row.append(column);
      }
      return row;
    }),
  );
}

async function take(given: File | undefined): Promise<void> {
  if (!given) return;
  proof = { name: given.name, text: await given.text() };
  await check();
}

file.addEventListener('change', () => {
  void take(file.files?.[0]);
  // So that the same file, once it was changed, can be chosen again.
  file.value = '';
});
for (const field of [keys, accounts]) field.addEventListener('input', () => void check());
drop.addEventListener('dragover', (event) => {
  event.preventDefault();
  drop.dataset['over'] = 'true';
});
drop.addEventListener('dragleave', () => delete drop.dataset['over']);
drop.addEventListener('drop', (event) => {
  event.preventDefault();
  delete drop.dataset['over'];
  void take(event.dataTransfer?.files[0]);
});
