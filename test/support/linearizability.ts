// Whether a history of calls could have come from one copy of something that does one call at a time (Wing and Gong's search with
// Lowe's memory of what was tried). It knows nothing of what the calls mean: the model is handed in.

/** One call. Times are places in one order: what returned before another began has the lower number. */
export interface Operation<Input, Output> {
  readonly calledAt: number;
  /** Absent: nobody knows whether and when it happened; it may have at any time after the call, or never. */
  readonly returned?: { readonly at: number; readonly output: Output };
  readonly input: Input;
}

/** States are compared with ===, so they are strings or numbers. */
export interface Model<State extends string | number, Input, Output> {
  readonly initial: State;
  /** The state after the call; null when the call cannot give this output there. An output of undefined is one that nobody saw. */
  readonly step: (state: State, input: Input, output: Output | undefined) => State | null;
}

export type Verdict = "linearizable" | "not-linearizable" | "unknown";

/** A place in the list of events. A call knows its return; `operation` is its number. */
interface Event {
  readonly operation: number;
  readonly isCall: boolean;
  previous: Event;
  next: Event;
}

const STEPS_MAX = 5_000_000;

/** "unknown" when it takes more than `stepsMax` tries. */
export function checkLinearizable<State extends string | number, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
  { stepsMax = STEPS_MAX }: { readonly stepsMax?: number } = {},
): Verdict {
  const { head, returns } = eventsOf(history);
  const done = new Uint16Array(Math.ceil(history.length / 16));
  const tried = new Set<string>();
  const path: { readonly call: Event; readonly before: State }[] = [];
  let state = model.initial;
  /** Calls that returned and have no place yet. */
  let left = returns.filter((event) => event !== undefined).length;
  let at = head.next;
  for (let steps = 0; left > 0; steps += 1) {
    if (steps >= stepsMax) return "unknown";
    const operation = history[at.operation];
    if (at.isCall && operation !== undefined) {
      const after = model.step(state, operation.input, operation.returned?.output);
      // A call nobody saw end and that changes nothing here is as good as one that never happened.
      const isIdle = operation.returned === undefined && after === state;
      if (after !== null && !isIdle && isNew(tried, { done, operation: at.operation, after })) {
        path.push({ call: at, before: state });
        flip(done, at.operation);
        state = after;
        unlink(at);
        const end = returns[at.operation];
        if (end !== undefined) {
          unlink(end);
          left -= 1;
        }
        at = head.next;
      } else at = at.next;
      continue;
    }
    // A call returned here (or the list ended) before it got a place: the newest place was wrong.
    const last = path.pop();
    if (last === undefined) return "not-linearizable";
    const end = returns[last.call.operation];
    if (end !== undefined) {
      relink(end);
      left += 1;
    }
    relink(last.call);
    flip(done, last.call.operation);
    state = last.before;
    at = last.call.next;
  }
  return "linearizable";
}

/** The events in order, in a ring around a head that is neither call nor return of anything; and each call's return. */
function eventsOf(history: readonly Operation<unknown, unknown>[]): { head: Event; returns: (Event | undefined)[] } {
  const points = history.flatMap(({ calledAt, returned }, operation) => [
    { at: calledAt, operation, isCall: true },
    ...(returned === undefined ? [] : [{ at: returned.at, operation, isCall: false }]),
  ]);
  points.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall));
  const head = { operation: -1, isCall: false } as Event;
  head.previous = head;
  head.next = head;
  const returns: (Event | undefined)[] = history.map(() => undefined);
  for (const { operation, isCall } of points) {
    const event: Event = { operation, isCall, previous: head.previous, next: head };
    relink(event);
    if (!isCall) returns[operation] = event;
  }
  return { head, returns };
}

function unlink(event: Event): void {
  event.previous.next = event.next;
  event.next.previous = event.previous;
}

function relink(event: Event): void {
  event.previous.next = event;
  event.next.previous = event;
}

function flip(bits: Uint16Array, place: number): void {
  bits[place >> 4] = (bits[place >> 4] ?? 0) ^ (1 << (place & 15));
}

/** Whether the same calls have not led to the same state before; from now on they have. */
function isNew(
  tried: Set<string>,
  place: { readonly done: Uint16Array; readonly operation: number; readonly after: string | number },
): boolean {
  flip(place.done, place.operation);
  const key = `${String.fromCharCode(...place.done)}${place.after}`;
  flip(place.done, place.operation);
  const before = tried.size;
  tried.add(key);
  return tried.size > before;
}
