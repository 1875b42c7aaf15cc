/** Too many long reviews are waiting, so that this one would not be evaluated in time. */
export class TooManyWaiting extends Error {
  override readonly name = "TooManyWaiting";
  constructor(who: "this user" | "all users") {
    super(`too many changes of ${who} that need a long evaluation are waiting`);
  }
}

/** Together with those of other users, fewer than the requests that the server accepts at once. */
const mostOfUser = 96;
const mostOfAll = 192;

/**
 * Long reviews are evaluated one at a time. Of those that wait, the next one is that of the next user, so that many changes
 * of one user delay a change of another user by the evaluation of one of them.
 */
export class Turns {
  #isTaken = false;
  #count = 0;
  /** In the order of the users' turns. */
  readonly #waiting = new Map<string, (() => void)[]>();

  /**
   * Resolves when it is the turn of this review; undefined: it is its turn at once. The review calls `done` at its end.
   * Throws TooManyWaiting.
   */
  take(user: string): Promise<void> | undefined {
    if (!this.#isTaken) {
      this.#isTaken = true;
      return undefined;
    }
    const who = holderOf(user);
    const ofUser = this.#waiting.get(who) ?? [];
    if (ofUser.length >= mostOfUser) throw new TooManyWaiting("this user");
    if (this.#count >= mostOfAll) throw new TooManyWaiting("all users");
    this.#waiting.set(who, ofUser);
    this.#count++;
    const { promise, resolve } = Promise.withResolvers<void>();
    ofUser.push(resolve);
    return promise;
  }

  /** Whether a review of this user waits. */
  hasWaiting(user: string): boolean {
    return this.#waiting.has(holderOf(user));
  }

  done(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#isTaken = false;
      return;
    }
    const [who, [first, ...others]] = next;
    this.#waiting.delete(who);
    if (others.length > 0) this.#waiting.set(who, others);
    this.#count--;
    first?.();
  }
}

/** All service accounts of a namespace are one user, because whoever may create one can create many. */
const holderOf = (user: string): string => /^system:serviceaccount:[^:]*/.exec(user)?.[0] ?? user;
