/** A shorter text is too common to be found in another. */
const SECRET_LENGTH_MIN = 4;

/**
 * What a receiver said, without the secrets that it was given: some repeat a request in their errors. Of a secret with several words, such
 * as `Bearer TOKEN`, each is one.
 */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  const words = secrets.flatMap((secret) => [secret, ...secret.split(/\s+/)]);
  const hidden = words.filter(({ length }) => length >= SECRET_LENGTH_MIN).sort((a, b) => b.length - a.length);
  return hidden.reduce((shown, word) => shown.replaceAll(word, '***'), text);
}
