/** The programs of `benchmarks/guest`, and how often each is repeated in a full run. */

export interface GuestWorkload {
  /** As `work list` has it. */
  readonly name: string;
  readonly about: string;
  /** Repetitions: some 0.1 s natively, fewer where an emulator takes more than fifty times as long. */
  readonly count: number;
}

const workload = (name: string, count: number, about: string): GuestWorkload => ({ name, about, count });

export const guestWorkloads: readonly GuestWorkload[] = [
  workload('integer', 600, 'multiplications, divisions, shifts and branches that data decides'),
  workload('recursion', 2500, 'calls, deep and wide, and trees of small allocations'),
  workload('bytecode', 2000, 'the dispatch loop of an interpreter'),
  workload('compress-lz', 300, 'matches in text by a hash table, and back'),
  workload('compress-range', 160, 'an adaptive range coder, and back'),
  workload('sha256', 1500, 'SHA-256'),
  workload('crc32', 700, 'CRC-32 by a table'),
  workload('sort-integers', 300, 'quicksort, and qsort with a function that compares'),
  workload('sort-strings', 300, 'a merge sort of words'),
  workload('strings', 500, 'the functions of string.h, short and long'),
  workload('memory-chase', 35, 'a walk in no order through 4 MiB'),
  workload('sse2-scalar', 3500, 'doubles, one at a time: bodies in motion, Mandelbrot’s set'),
  workload('sse2-packed', 2500, 'vectors of doubles, floats and integers'),
  workload('x87', 100, '80 bits: bodies in motion, a series'),
  workload('generated-code', 1200, 'functions written, called thirty times and overwritten'),
  workload('self-modifying', 500, 'a function with a constant that changes before each call'),
  workload('system-calls', 700, 'getppid, and small reads and writes'),
  workload('pipe-ping-pong', 400, '64 bytes from process to process and back'),
  workload('pipe-bulk', 800, 'blocks of 4 KiB through two pipes'),
  workload('fork-exit', 120, 'processes that end at once'),
  workload('fork-exec', 150, 'a program started, and waited for'),
  workload('mmap-touch', 200, 'a mapping of 1 MiB, each page touched'),
  workload('page-faults', 150, 'pages protected, written to, and opened in the signal’s handler'),
];
