const MASK = '***';

/** Words without which a text has none of the secrets below; most texts have none of them. */
const HINT = /secret|password|passwd|key=|:\/\//i;

/**
 * Where QEMU's command lines, and messages that quote them, carry secrets. The group `keep` stays, what follows it is replaced.
 * - `-object secret,id=x,data=…` and its JSON form (qapi/crypto.json: SecretProperties); encrypted ones too, whose key is a file beside them;
 * - `password=…` of -vnc, -spice and network disks of older QEMU, where `on`, `off` and the names of secret objects are no secrets;
 * - Ceph's `key=` in `rbd:pool/image:id=…:key=…`;
 * - `user:password@` of a URL.
 */
const SECRETS: readonly RegExp[] = [
  /(?<keep>\bsecret\b[^\n]*?[,{ ]\s*"?data"?\s*[:=]\s*)(?:"(?:[^"\\]|\\.)*"|[^\s,'"}]+)/g,
  /(?<keep>(?<![\w-])(?:password|passwd)"?\s*[:=]\s*)(?!on\b|off\b|"?\*)(?:"(?:[^"\\]|\\.)*"|[^\s,'":}]+)/gi,
  /(?<keep>\brbd:[^\s'"]*?:key=)[^:\s'"]+/g,
  /(?<keep>:\/\/[^\s/:@'"]*:)[^\s/@'"]+(?=@)/g,
];

/** A text with the secrets in it replaced by three asterisks. */
export function maskSecrets(text: string): string {
  if (!HINT.test(text)) return text;
  return SECRETS.reduce((masked, pattern) => masked.replace(pattern, (_, keep: string) => `${keep}${MASK}`), text);
}
