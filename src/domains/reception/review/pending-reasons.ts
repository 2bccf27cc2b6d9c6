import { problemDefinitions, type ProblemCode } from '#platform/errors.ts';
import { severities, type Severity } from '#domains/items/index.ts';

/** Why a record waits, as the partners' clients know the reasons. Conflicts have a list of their own. */
export const pendingReasons = [
  'NoIdentifiers',
  'InvalidIdentifiers',
  'ConflictingDFIDs',
  'IdentifierMappingConflict',
  'DataQualityIssue',
  'ProcessingError',
  'ValidationError',
  'DuplicateDetectionAmbiguous',
  'CrossSystemConflict',
] as const;
export type PendingReason = (typeof pendingReasons)[number];

/** The names of the priorities 1 to 4. */
export const priorityNames = ['Low', 'Normal', 'High', 'Critical'] as const;

const namedCodes: Readonly<Partial<Record<PendingReason, readonly ProblemCode[]>>> = {
  NoIdentifiers: ['no_identifying_identifier'],
  InvalidIdentifiers: [
    'blank_identifier',
    'control_character',
    'identifier_too_long',
    'invalid_identifier',
    'spreadsheet_damage',
    'wrong_check_digit',
  ],
  DataQualityIssue: ['quality_rule'],
  ProcessingError: ['processing_failed', 'record_not_found', 'unprocessable_record'],
};
/** The status of the codes that may stand beside a refused record. */
const recordProblemStatus = 422;
const codesByReason: Readonly<Partial<Record<PendingReason, readonly string[]>>> = {
  ...namedCodes,
  ValidationError: Object.entries(problemDefinitions)
    .filter(([, { status }]) => status === recordProblemStatus)
    .map(([code]) => code as ProblemCode)
    .filter((code) => !Object.values(namedCodes).some((codes) => codes.includes(code))),
};

/** The codes of refused records that make up a reason. Each code of a record belongs to one reason. */
export function codesOfReason(reason: PendingReason): readonly string[] {
  return codesByReason[reason] ?? [];
}

/** The reason that the code of a refused record stands for. */
export function reasonOfCode(code: string): PendingReason {
  return pendingReasons.find((reason) => codesByReason[reason]?.includes(code)) ?? 'ValidationError';
}

/** How grave a record that a quality rule holds is; null for other faults. */
export function severityOf(severity: string | undefined): Severity | null {
  return severities.find((one) => one === severity) ?? null;
}

/** What somebody may do about a record that waits. Nothing is ever done by itself. */
interface SuggestedAction {
  readonly action_type: string;
  readonly description: string;
  /** 0 to 1: how likely it is that this mends the record. */
  readonly confidence: number;
  readonly automated: false;
}

function action(actionType: string, confidence: number, description: string): SuggestedAction {
  return { action_type: actionType, description, confidence, automated: false };
}

const review = action(
  'manual_review',
  0.3,
  'Look at the record; resolve with reject when it is not needed or was sent again.',
);
const sendAgain = action(
  'send_again',
  0.8,
  'Mend the record, send it in a new receipt, and resolve this one with reject.',
);
const addIdentifiers = action(
  'add_identifiers',
  0.9,
  'Resolve with modify and new_identifiers that name the item itself, such as sisbov or chip.',
);
const correctIdentifiers = action(
  'correct_identifiers',
  0.8,
  'Resolve with modify and new_identifiers that hold the value as it is on the document or tag.',
);
const identifiersAgainFromSource = action(
  'correct_identifiers',
  0.9,
  'A spreadsheet has rounded the number: format the column as text, and resolve with modify and the values of the source.',
);
const acceptAsItIs = action(
  'approve',
  0.5,
  'Resolve with approve when the value is right although the rule does not expect it.',
);
const correctData = action(
  'correct_data',
  0.7,
  'Resolve with modify and new_enriched_data or new_identifiers that keep the rule.',
);
const tryAgain = action('approve', 0.6, 'Resolve with approve to work on the record once more.');

const actionsByReason: Readonly<Partial<Record<PendingReason, readonly SuggestedAction[]>>> = {
  NoIdentifiers: [addIdentifiers, review],
  InvalidIdentifiers: [correctIdentifiers, review],
  DataQualityIssue: [correctData, acceptAsItIs],
  ProcessingError: [tryAgain, review],
  ValidationError: [sendAgain, review],
};

/** What may help with a fault of this code, the most promising first. */
export function suggestActions(code: string): readonly SuggestedAction[] {
  if (code === 'spreadsheet_damage') return [identifiersAgainFromSource, review];
  return actionsByReason[reasonOfCode(code)] ?? [review];
}
