import {
  type BuilderMemory,
  buildPvDomain,
  kernelSymbols,
  loadKernelImage,
  type PvDomainPlace,
  planPvDomain,
} from '@paravane/domain-builder';

/** Puts a kernel with its first page tables into memory. What it begins with, by its own symbols. */
export async function build(kernelFile: Uint8Array, memory: BuilderMemory, place: PvDomainPlace): Promise<string> {
  const image = await loadKernelImage(kernelFile);
  const plan = planPvDomain(image, { memoryPages: place.p2m.length, cmdline: 'console=hvc0' });
  const { rip, rsp, rsi, cr3, tables } = buildPvDomain(plan, memory, place);
  // The first CPU starts with these registers, when the tables are validated and pinned.
  console.log(rip, rsp, rsi, cr3, tables.length);
  return kernelSymbols(image)?.lookup(rip)?.name ?? 'unknown'; // Linux: startup_xen
}
