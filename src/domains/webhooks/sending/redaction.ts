/** Stands for what is not shown. */
export const redacted = '[redacted]';

/** Anything shorter is found in texts by chance. */
const credentialCharacters = 4;

/** How the name of a header that carries a credential ends, in the words that JavaScript and Postgres share. */
export const credentialHeaderPattern = '(authorization|auth|cookie|key|token|secret|password)$';
const credentialHeader = new RegExp(credentialHeaderPattern);

/** Whether a header carries a credential, as far as its name tells: its value is kept sealed and not shown. */
export function isCredentialHeader(name: string): boolean {
  return credentialHeader.test(name);
}

/** So much of a credential is searched for; what follows it is compared. */
const searchedCharacters = 32;

/**
 * Makes what leaves credentials out of texts that others wrote: as they are, and as they stand in JSON, in URLs and without the
 * padding of base64. Other encodings of them pass.
 */
export function makeRedaction(credentials: readonly string[]): (text: string) => string {
  const forms = new Set(
    credentials
      .flatMap((credential) => {
        const inJson = JSON.stringify(credential).slice(1, -1);
        return [
          inJson.replaceAll('/', String.raw`\/`),
          inJson,
          encodeURIComponent(credential),
          credential,
          credential.replace(/=+$/, ''),
        ];
      })
      .filter(({ length }) => length >= credentialCharacters),
  );
  return (text) => [...forms].reduce(withoutForm, text);
}

/** Leaves out what begins like a credential, as far as it goes on like it: a text may end in the middle of one. */
function withoutForm(text: string, form: string): string {
  const searched = form.slice(0, searchedCharacters);
  const parts: string[] = [];
  let done = 0;
  for (let found = text.indexOf(searched); found !== -1; found = text.indexOf(searched, done)) {
    let end = found + searched.length;
    while (end - found < form.length && text[end] === form[end - found]) end += 1;
    parts.push(text.slice(done, found), redacted);
    done = end;
  }
  return done === 0 ? text : parts.join('') + text.slice(done);
}
