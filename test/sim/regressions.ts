// Seeds that once failed, each with what it found. They are run before all others, for as long as they still lead there; a change of
// the simulator may lead them elsewhere.

export const REGRESSIONS: readonly number[] = [
  // A snapshot that a full disk cannot take was refused with the bare error of the disk.
  43, 74,
  // So was the opening of a log on a disk that is full, or that fails.
  61, 66,
  // Proposals that waited for the last fraction of a millisecond waited for ever: the clock of a slow machine rounds.
  4, 24,
  // A snapshot whose sender lost power held the place of every later one (a fault of the simulated network).
  685,
];
