/*
 * Memory of a PV domain. Frames are numbered twice: pfn (the domain's own, 0 … nr_pages-1) and mfn (the machine's).
 * Page tables hold mfns, are mapped read-only, and change only through hypercalls. Memory up to mm_mapped_end() is
 * mapped at virt_base + pfn * PAGE_SIZE; the page allocator maps more as it needs it.
 */
#ifndef PARAVANE_MM_H
#define PARAVANE_MM_H

#include <paravane/arch.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/xen.h>

#define PTE_PRESENT 0x001ull
#define PTE_RW 0x002ull
#define PTE_USER 0x004ull
#define PTE_ACCESSED 0x020ull
#define PTE_DIRTY 0x040ull
#define PTE_NX 0x8000000000000000ull
#define PTE_FRAME 0x000ffffffffff000ull
#define PTE_KERNEL (PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY)
#define PTE_KERNEL_RO (PTE_PRESENT | PTE_ACCESSED)
#define PTE_TABLE (PTE_KERNEL | PTE_USER)

#define INVALID_MFN (~0ul)

extern char virt_base[];

/* The entry that maps a frame. */
static inline uint64_t mm_pte(unsigned long mfn, uint64_t flags) {
  return (uint64_t)mfn << PAGE_SHIFT | flags;
}

void mm_init(unsigned long boot_stack);

unsigned long mm_pfn_to_mfn(unsigned long pfn);
unsigned long mm_mfn_to_pfn(unsigned long mfn);
void *mm_pfn_to_virt(unsigned long pfn);
void *mm_mfn_to_virt(unsigned long mfn);
unsigned long mm_virt_to_pfn(const void *address);
unsigned long mm_virt_to_mfn(const void *address);

/* A zeroed page of mapped memory; NULL when there is none left. */
void *mm_page_alloc(void);
void mm_page_free(void *page);
unsigned long mm_pages_free(void);
void *mm_mapped_end(void);

/* Where the level-1 entry for va is (readable, not writable); NULL if a table above it is missing. */
uint64_t *mm_entry(unsigned long va);
/* The level-1 entry that maps va now, as the table shows it; 0 if none. */
uint64_t mm_lookup(unsigned long va);
/* Maps one page, building tables where they are missing. flags: PTE_…; 0 or a negative errno. */
long mm_map(unsigned long va, unsigned long mfn, uint64_t flags);
long mm_unmap(unsigned long va);
/* Changes the rights of a page's own mapping at virt_base + pfn; needed before it becomes, or after it was, a table. */
long mm_set_readonly(void *page);
long mm_set_writable(void *page);
/* level 1 … TABLE_LEVELS */
long mm_pin(unsigned long mfn, unsigned int level);
long mm_unpin(unsigned long mfn);
/* One write to a page table through mmu_update. */
long mm_write_entry(uint64_t *entry, uint64_t value);

/* Virtual addresses that the stubs never use: 64 MiB for the kernel's own mappings. */
#define MM_SCRATCH ((unsigned long)virt_base + MM_SCRATCH_OFFSET)

#endif
