/** Stands for what is not shown. */
export const redacted = '[redacted]';

/** Anything shorter is found in texts by chance. */
const credentialCharacters = 4;

/** Whether a header carries a credential, as far as its name tells: its value is not shown. */
export function isCredentialHeader(name: string): boolean {
  return /(?:authorization|auth|cookie|key|token|secret|password)$/.test(name);
}

/**
 * Makes what leaves credentials out of texts that others wrote: as they are, and as they stand in JSON, in URLs and without the
 * padding of base64. Other encodings of them pass.
 */
export function makeRedaction(credentials: readonly string[]): (text: string) => string {
  const forms = credentials
    .filter(({ length }) => length >= credentialCharacters)
    .flatMap((credential) => {
      const inJson = JSON.stringify(credential).slice(1, -1);
      return [
        inJson.replaceAll('/', String.raw`\/`),
        inJson,
        encodeURIComponent(credential),
        credential,
        credential.replace(/=+$/, ''),
      ];
    });
  return (text) => forms.reduce((rest, form) => rest.replaceAll(form, redacted), text);
}
