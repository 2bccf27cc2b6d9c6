import { z } from 'zod';

const hashText = z.base64().meta({ description: 'A SHA-256 hash in base64' });
const wholeNumber = z.number().int();

const shownField = z.union([
  z.object({ value: z.unknown(), salt: z.string() }),
  z.object({ digest: z.string().meta({ description: 'In the place of a value that is not shown' }) }),
]);

const anchorMembers = {
  network_passphrase: z.string(),
  source: z.string().meta({ description: 'The account that anchored the checkpoint' }),
  envelope_xdr: z
    .base64()
    .meta({ description: 'The signed transaction, whose memo is the SHA-256 of the text of the note' }),
  hash: z.string().meta({ description: 'Of the transaction, in hex' }),
  ledger: wholeNumber,
  closed_at: z.iso.datetime(),
};

/** A proof in one file; docs/proofs.md is its specification. */
export const proofBundleSchema = z
  .object({
    format: z.literal('defarm-proof-v1'),
    entry: z.base64().meta({ description: 'The bytes that are logged' }),
    fields: z.record(z.string(), shownField).optional(),
    salt: z.string().optional(),
    index: wholeNumber,
    inclusion: z.array(hashText).meta({ description: 'From the leaf to the root' }),
    checkpoint: z.string().nullable().meta({ description: 'The signed note; null when nothing is signed' }),
    tree_size: wholeNumber,
    root: hashText,
    anchor: z
      .object(anchorMembers)
      .nullable()
      .meta({ description: 'Null: this checkpoint is not anchored on a public ledger' }),
  })
  .meta({ id: 'ProofBundle' });

export type ProofBundle = z.output<typeof proofBundleSchema>;

export const proofListSchema = z
  .object({
    dfid: z.string(),
    version: proofBundleSchema.nullable().meta({ description: 'Of the newest version of the item that is logged' }),
    proofs: z
      .array(proofBundleSchema)
      .meta({ description: 'Of what your workspace was told of the item, newest first' }),
    next_cursor: z.string().nullable(),
    state: z.string().meta({ description: 'What is proven, in words' }),
  })
  .meta({ id: 'ItemProofs' });

export const anchorListSchema = z
  .object({
    anchors: z.array(z.object({ size: wholeNumber, checkpoint: z.string(), ...anchorMembers })),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: 'AnchorList' });

export const proofListQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().max(200).optional(),
});

export const versionQuery = z.object({ version: z.coerce.number().int().min(1).max(2_147_483_647).optional() });

export const logKeysSchema = z
  .object({
    keys: z.array(
      z.object({
        verifier_key: z.string(),
        from_size: wholeNumber.meta({ description: 'Entries that it did not sign yet' }),
        until_size: wholeNumber.nullable().meta({ description: 'Where another one took over' }),
        statement: z
          .string()
          .nullable()
          .meta({ description: 'A note by which the key before handed over, signed by both; null for the first key' }),
        entry: z
          .object({ index: wholeNumber, fields: z.record(z.string(), shownField), salt: z.string() })
          .nullable()
          .meta({ description: 'The entry of the log that says so' }),
      }),
    ),
  })
  .meta({ id: 'LogKeys' });

export const consistencyQuery = z.object({
  from: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  to: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
});

export const consistencySchema = z
  .object({
    from: wholeNumber,
    to: wholeNumber,
    from_root: hashText,
    to_root: hashText,
    proof: z.array(hashText),
  })
  .meta({ id: 'ConsistencyProof' });

export const logStateSchema = z
  .object({
    origin: z.string().nullable(),
    size: wholeNumber.meta({ description: 'Entries that are committed' }),
    signed_size: wholeNumber.nullable(),
    signed_at: z.iso.datetime().nullable(),
    verifier_key: z.string().nullable(),
    anchored_size: wholeNumber.nullable().meta({ description: 'Entries that the newest anchored checkpoint covers' }),
    network: z.string().nullable().meta({ description: 'The network that it is anchored on' }),
    anchor_account: z
      .object({
        address: z.string(),
        balance_xlm: z.number(),
        anchors_left: wholeNumber.meta({ description: 'That it can pay for at the highest bid' }),
      })
      .nullable()
      .meta({ description: 'The account that pays for anchors, as it was when the last one was made' }),
    witnesses: z
      .array(
        z.object({
          name: z.string(),
          size: wholeNumber.meta({ description: 'Entries of the last checkpoint that it signed' }),
          refusal: z.string().nullable().meta({ description: 'Why it did not sign the next one' }),
        }),
      )
      .meta({ description: 'Who signs checkpoints besides the log' }),
    state: z.string().meta({ description: 'How the log is, in words' }),
  })
  .meta({ id: 'LogState' });
