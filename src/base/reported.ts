/**
 * Remembers which troubles the log has been told of, so that each is logged once until it is over, however often it is met.
 *
 * Keyed by subject (a VM, a part of a collection, the connection) and message: another message of the same subject is news again, up
 * to a bound, so that messages with something in them that changes cannot fill memory and log.
 */
export class Reported<Subject> {
  readonly #messages = new Map<Subject, Set<string>>();
  readonly #messagesMax: number;
  readonly #subjectsMax: number;

  /**
   * @param limits.messagesMax different messages of one subject that are news before it is over; 8 by default
   * @param limits.subjectsMax subjects remembered; beyond that the one noted longest ago is forgotten; 1,024 by default
   */
  constructor({ messagesMax = 8, subjectsMax = 1_024 }: { messagesMax?: number; subjectsMax?: number } = {}) {
    this.#messagesMax = messagesMax;
    this.#subjectsMax = subjectsMax;
  }

  /** Whether nothing has been noted of the subject since it was last over. */
  isHealthy(subject: Subject): boolean {
    return !this.#messages.has(subject);
  }

  /** Notes a trouble; true when the log is to be told of it. */
  note(subject: Subject, message: string): boolean {
    let messages = this.#messages.get(subject);
    if (messages === undefined) {
      if (this.#messages.size >= this.#subjectsMax) this.#messages.delete(this.#messages.keys().next().value!);
      messages = new Set();
      this.#messages.set(subject, messages);
    }
    if (messages.has(message) || messages.size >= this.#messagesMax) return false;
    messages.add(message);
    return true;
  }

  /** Notes that all is well with the subject; true when the log was told otherwise. */
  clear(subject: Subject): boolean {
    return this.#messages.delete(subject);
  }
}
