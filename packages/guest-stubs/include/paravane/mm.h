/*
 * Memory of a PV64 domain. Frames are numbered twice: pfn (the domain's own, 0 … nr_pages-1) and mfn (the machine's).
 * Page tables hold mfns, are mapped read-only, and change only through hypercalls. Memory up to mm_mapped_end() is
 * mapped at virt_base + pfn * PAGE_SIZE; the page allocator maps more as it needs it.
 */
#ifndef PARAVANE_MM_H
#define PARAVANE_MM_H

#include <stddef.h>
#include <stdint.h>

#define PTE_PRESENT 0x001ul
#define PTE_RW 0x002ul
#define PTE_USER 0x004ul
#define PTE_ACCESSED 0x020ul
#define PTE_DIRTY 0x040ul
#define PTE_NX 0x8000000000000000ul
#define PTE_FRAME 0x000ffffffffff000ul
#define PTE_KERNEL (PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY)
#define PTE_KERNEL_RO (PTE_PRESENT | PTE_ACCESSED)
#define PTE_TABLE (PTE_KERNEL | PTE_USER)

#define INVALID_MFN (~0ull)

extern char virt_base[];

void mm_init(uint64_t boot_stack);

uint64_t mm_pfn_to_mfn(uint64_t pfn);
uint64_t mm_mfn_to_pfn(uint64_t mfn);
void *mm_pfn_to_virt(uint64_t pfn);
void *mm_mfn_to_virt(uint64_t mfn);
uint64_t mm_virt_to_pfn(const void *address);
uint64_t mm_virt_to_mfn(const void *address);

/* A zeroed page of mapped memory; NULL when there is none left. */
void *mm_page_alloc(void);
void mm_page_free(void *page);
uint64_t mm_pages_free(void);
void *mm_mapped_end(void);

/* Where the level-1 entry for va is (readable, not writable); NULL if a table above it is missing. */
uint64_t *mm_entry(uint64_t va);
/* The level-1 entry that maps va now, as the table shows it; 0 if none. */
uint64_t mm_lookup(uint64_t va);
/* Maps one page, building tables where they are missing. flags: PTE_…; 0 or a negative errno. */
long mm_map(uint64_t va, uint64_t mfn, uint64_t flags);
long mm_unmap(uint64_t va);
/* Changes the rights of a page's own mapping at virt_base + pfn; needed before it becomes, or after it was, a table. */
long mm_set_readonly(void *page);
long mm_set_writable(void *page);
/* level 1 … 4 */
long mm_pin(uint64_t mfn, unsigned int level);
long mm_unpin(uint64_t mfn);
/* One write to a page table through mmu_update. */
long mm_write_entry(uint64_t *entry, uint64_t value);

/* Virtual addresses that the stubs never use: 64 MiB for the kernel's own mappings. */
#define MM_SCRATCH_OFFSET 0x7c000000ul
#define MM_SCRATCH ((uint64_t)(uintptr_t)virt_base + MM_SCRATCH_OFFSET)

#endif
