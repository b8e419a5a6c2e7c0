/*
 * Page tables and pages of a PV domain, in four levels or in the three of PAE. Tables are found through their machine frames (M2P) and read through the
 * kernel's own read-only mapping of them; each change goes through mmu_update or update_va_mapping, where Xen checks it.
 * Invariant: a page that is or becomes a table has no writable mapping.
 */
#include <paravane/guest.h>

#define ENTRIES 512
#define RESERVED_PAGES 8 /* kept back for tables, so that growing the mapped area never fails half-way */
#define MAPPED_LIMIT_PFN (MAPPED_LIMIT >> PAGE_SHIFT)

struct free_page {
  struct free_page *next;
};

static struct free_page *free_list;
static unsigned long free_pages;
static unsigned long mapped_end_pfn;

static const unsigned long *m2p(void) {
  static const unsigned long *base;
  static bool known;
  if (!known) {
    struct xen_machphys_mapping mapping;
    known = true;
    base = (const unsigned long *)MACH2PHYS_DEFAULT;
    if (HYPERVISOR_memory_op(XENMEM_machphys_mapping, &mapping) == 0) base = (const unsigned long *)mapping.v_start;
  }
  return base;
}

unsigned long mm_pfn_to_mfn(unsigned long pfn) {
  return pfn < start_info->nr_pages ? ((const unsigned long *)start_info->mfn_list)[pfn] : INVALID_MFN;
}

unsigned long mm_mfn_to_pfn(unsigned long mfn) {
  return m2p()[mfn];
}

void *mm_pfn_to_virt(unsigned long pfn) {
  return virt_base + (pfn << PAGE_SHIFT);
}

void *mm_mfn_to_virt(unsigned long mfn) {
  return mm_pfn_to_virt(mm_mfn_to_pfn(mfn));
}

unsigned long mm_virt_to_pfn(const void *address) {
  return (unsigned long)((const char *)address - virt_base) >> PAGE_SHIFT;
}

unsigned long mm_virt_to_mfn(const void *address) {
  return mm_pfn_to_mfn(mm_virt_to_pfn(address));
}

static unsigned int table_index(unsigned long va, unsigned int level) {
  return va >> (PAGE_SHIFT + 9 * (level - 1)) & ((level == TABLE_LEVELS ? TABLE_TOP_ENTRIES : ENTRIES) - 1);
}

/* The entry of the given level that translates va, or NULL if a table above it is missing. */
static uint64_t *find_entry(unsigned long va, unsigned int wanted) {
  uint64_t *table = (uint64_t *)start_info->pt_base;
  for (unsigned int level = TABLE_LEVELS;; level--) {
    uint64_t *entry = &table[table_index(va, level)];
    if (level == wanted) return entry;
    if (!(*(volatile uint64_t *)entry & PTE_PRESENT)) return NULL;
    table = mm_mfn_to_virt((unsigned long)((*entry & PTE_FRAME) >> PAGE_SHIFT));
  }
}

uint64_t *mm_entry(unsigned long va) {
  return find_entry(va, 1);
}

uint64_t mm_lookup(unsigned long va) {
  const volatile uint64_t *entry = find_entry(va, 1);
  return entry && (*entry & PTE_PRESENT) ? *entry : 0;
}

long mm_write_entry(uint64_t *entry, uint64_t value) {
  struct mmu_update update = {
      .ptr = mm_pte(mm_virt_to_mfn(entry), (HYPERCALL_POINTER(entry) & (PAGE_SIZE - 1)) | MMU_NORMAL_PT_UPDATE),
      .val = value,
  };
  int done = 0;
  return HYPERVISOR_mmu_update(&update, 1, &done);
}

static long set_rights(void *page, uint64_t flags) {
  return HYPERVISOR_update_va_mapping(HYPERCALL_POINTER(page), mm_pte(mm_virt_to_mfn(page), flags), UVMF_INVLPG);
}

long mm_set_readonly(void *page) {
  return set_rights(page, PTE_KERNEL_RO);
}

long mm_set_writable(void *page) {
  return set_rights(page, PTE_KERNEL);
}

/* Makes the zeroed or filled page a table and hangs it into the entry above. */
static long attach_table(uint64_t *entry, void *page) {
  long result = mm_set_readonly(page);
  if (result < 0) return result;
  return mm_write_entry(entry, mm_pte(mm_virt_to_mfn(page), PTE_TABLE));
}

static void *take_page(void) {
  struct free_page *page = free_list;
  if (!page) return NULL;
  free_list = page->next;
  free_pages--;
  memset(page, 0, PAGE_SIZE);
  return page;
}

/* Tables for va down to the given level's entry, which is returned; NULL if memory or Xen says no. */
static uint64_t *build_entry(unsigned long va, unsigned int wanted) {
  for (unsigned int level = TABLE_LEVELS; level > wanted; level--) {
    uint64_t *entry = find_entry(va, level);
    if (*(volatile uint64_t *)entry & PTE_PRESENT) continue;
    void *page = take_page();
    if (!page || attach_table(entry, page) < 0) return NULL;
  }
  return find_entry(va, wanted);
}

long mm_map(unsigned long va, unsigned long mfn, uint64_t flags) {
  if (!build_entry(va, 1)) return -XEN_EFAULT;
  return HYPERVISOR_update_va_mapping(va, mm_pte(mfn, flags), UVMF_INVLPG);
}

long mm_unmap(unsigned long va) {
  return find_entry(va, 1) ? HYPERVISOR_update_va_mapping(va, 0, UVMF_INVLPG) : -XEN_EINVAL;
}

static long mmuext(unsigned int cmd, unsigned long mfn) {
  struct mmuext_op op = {.cmd = cmd, .arg1.mfn = mfn};
  int done = 0;
  return HYPERVISOR_mmuext_op(&op, 1, &done);
}

long mm_pin(unsigned long mfn, unsigned int level) {
  return mmuext(MMUEXT_PIN_L1_TABLE + level - 1, mfn);
}

long mm_unpin(unsigned long mfn) {
  return mmuext(MMUEXT_UNPIN_TABLE, mfn);
}

/* Maps the next 2 MiB behind the mapped area: a level-1 table filled while it is an ordinary page, then attached. */
static bool grow(void) {
  unsigned long first = mapped_end_pfn, end = start_info->nr_pages;
  if (end > MAPPED_LIMIT_PFN) end = MAPPED_LIMIT_PFN;
  unsigned long va = HYPERCALL_POINTER(mm_pfn_to_virt(first));
  if (first >= end || table_index(va, 1) != 0) return false;
  uint64_t *entry = build_entry(va, 2);
  if (!entry || (*(volatile uint64_t *)entry & PTE_PRESENT)) return false;
  uint64_t *table = take_page();
  if (!table) return false;
  unsigned long count = 0;
  for (; count < ENTRIES && first + count < end; count++) {
    unsigned long mfn = mm_pfn_to_mfn(first + count);
    if (mfn != INVALID_MFN) table[count] = mm_pte(mfn, PTE_KERNEL);
  }
  if (attach_table(entry, table) < 0) return false;
  mapped_end_pfn = first + count;
  for (unsigned long i = count; i-- > 0;) {
    if (mm_pfn_to_mfn(first + i) != INVALID_MFN) mm_page_free(mm_pfn_to_virt(first + i));
  }
  return true;
}

void *mm_page_alloc(void) {
  if (free_pages <= RESERVED_PAGES && !grow()) {
    if (free_pages == 0) return NULL;
  }
  return take_page();
}

void mm_page_free(void *address) {
  struct free_page *page = address;
  page->next = free_list;
  free_list = page;
  free_pages++;
}

unsigned long mm_pages_free(void) {
  unsigned long unmapped = start_info->nr_pages > mapped_end_pfn ? start_info->nr_pages - mapped_end_pfn : 0;
  return free_pages + unmapped;
}

void *mm_mapped_end(void) {
  return mm_pfn_to_virt(mapped_end_pfn);
}

static unsigned long max(unsigned long a, unsigned long b) {
  return a > b ? a : b;
}

/* The builder puts the boot stack last; the other parts are taken into account for builders with another order. */
static unsigned long first_free_pfn(unsigned long boot_stack) {
  unsigned long end = max(HYPERCALL_POINTER(kernel_end), boot_stack);
  end = max(end, HYPERCALL_POINTER(start_info) + PAGE_SIZE);
  end = max(end, start_info->pt_base + start_info->nr_pt_frames * PAGE_SIZE);
  if (!start_info->first_p2m_pfn) end = max(end, start_info->mfn_list + start_info->nr_pages * sizeof(unsigned long));
  if (start_info->console.mfn) end = max(end, HYPERCALL_POINTER(mm_mfn_to_virt(start_info->console.mfn)) + PAGE_SIZE);
  if (start_info->store_mfn) end = max(end, HYPERCALL_POINTER(mm_mfn_to_virt(start_info->store_mfn)) + PAGE_SIZE);
  if (start_info->mod_len) end = max(end, start_info->mod_start + start_info->mod_len);
  return mm_virt_to_pfn((void *)(end + PAGE_SIZE - 1));
}

void mm_init(unsigned long boot_stack) {
  unsigned long first = first_free_pfn(boot_stack), pfn = first;
  while (pfn < start_info->nr_pages && mm_lookup(HYPERCALL_POINTER(mm_pfn_to_virt(pfn)))) pfn++;
  mapped_end_pfn = pfn;
  while (pfn-- > first) mm_page_free(mm_pfn_to_virt(pfn));
}
