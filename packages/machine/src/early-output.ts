/**
 * What a guest writes to the hypervisor's own console. An unprivileged guest is refused there, and most write all of
 * it to their console ring as well; some small kernels have nothing but that call. So it is shown for as long as the
 * ring was never used: each piece when the next one comes, as a guest that writes to both uses the ring in between.
 */

/** Offset of `out_prod` in the console page (public/io/console.h). */
const OUT_PROD = 0x0c0c;

export interface EarlyOutput {
  write(bytes: Uint8Array): void;
  /** The guest has ended: shows the last piece. */
  end(): void;
}

export function createEarlyOutput(page: () => Uint8Array | undefined, show: (bytes: Uint8Array) => void): EarlyOutput {
  let held: Uint8Array | null = null;
  let silent = false;
  const flush = (): void => {
    const ring = page();
    if (ring?.subarray(OUT_PROD, OUT_PROD + 4).some((byte) => byte !== 0)) silent = true;
    if (held && !silent) show(held);
    held = null;
  };
  return {
    write(bytes) {
      if (silent) return;
      flush();
      held = bytes;
    },
    end: flush,
  };
}
