/* `info` and `mem`: what the hypervisor says about itself and about this domain. */
#include "kernel.h"

struct cpuid_result {
  uint32_t eax, ebx, ecx, edx;
};

/* CPUID with the prefix that asks the hypervisor to emulate it (ud2; "xen"). False: nobody did. */
static bool cpuid(uint32_t leaf, struct cpuid_result *r) {
  trap_caught.vector = -1;
  r->eax = leaf;
  r->ecx = 0;
  __asm__ volatile("1: ud2\n\t.ascii \"xen\"\n\tcpuid\n2:\n\t" TRAP_FIXUP(1b, 2b)
                   : "+a"(r->eax), "=b"(r->ebx), "+c"(r->ecx), "=d"(r->edx)
                   :
                   : "memory");
  return trap_caught.vector < 0;
}

static void print_processor(void) {
  struct cpuid_result r;
  if (!cpuid(0, &r)) {
    printf("processor     CPUID is not emulated\n");
    return;
  }
  uint32_t vendor[3] = {r.ebx, r.edx, r.ecx};
  cpuid(1, &r);
  uint32_t family = (r.eax >> 8 & 15) + (r.eax >> 20 & 255), model = (r.eax >> 4 & 15) | (r.eax >> 12 & 0xf0);
  printf("processor     %.12s family %u model %u stepping %u, features %08x %08x\n", (const char *)vendor, family, model,
         r.eax & 15, r.edx, r.ecx);
  cpuid(0x40000000, &r);
  uint32_t signature[3] = {r.ebx, r.ecx, r.edx};
  printf("hypervisor    %.12s, leaves to %x\n", (const char *)signature, r.eax);
}

static void print_features(void) {
  static const char *const names[] = {
      "writable_page_tables", "writable_descriptor_tables", "auto_translated_physmap", "supervisor_mode_kernel",
      "pae_pgdir_above_4gb",  "mmu_pt_update_preserve_ad",  "highmem_assist",          "gnttab_map_avail_bits",
      "hvm_callback_vector",  "hvm_safe_pvclock",           "hvm_pirqs",               "dom0",
      "grant_map_identity",   "memory_op_vnode_supported",
  };
  struct xen_feature_info features = {.submap_idx = 0};
  long result = HYPERVISOR_xen_version(XENVER_get_features, &features);
  if (result < 0) {
    printf("features      error %ld\n", result);
    return;
  }
  printf("features      %08x", features.submap);
  for (unsigned int i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (features.submap >> i & 1) printf(" %s", names[i]);
  }
  printf("\n");
}

static void print_vcpus(void) {
  unsigned int present = 0, up = 0;
  for (unsigned int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++) {
    long result = HYPERVISOR_vcpu_op(VCPUOP_is_up, i, NULL);
    present += result >= 0;
    up += result > 0;
  }
  printf("vcpus         %u, %u up\n", present, up);
}

void command_info(const char *arguments) {
  (void)arguments;
  static xen_capabilities_info_t capabilities;
  xen_extraversion_t extra = "";
  long version = HYPERVISOR_xen_version(XENVER_version, NULL);
  HYPERVISOR_xen_version(XENVER_extraversion, extra);
  HYPERVISOR_xen_version(XENVER_capabilities, capabilities);
  printf("interface     %.32s\n", start_info->magic);
  printf("xen version   %ld.%ld%.16s\n", version >> 16, version & 0xffff, extra);
  printf("capabilities  %s\n", capabilities);
  print_features();
  print_processor();
  print_vcpus();
  printf("memory        %lu pages (%lu MiB)\n", start_info->nr_pages, start_info->nr_pages >> (20 - PAGE_SHIFT));
  printf("flags         %x%s\n", start_info->flags, start_info->flags & SIF_INITDOMAIN ? " (initial domain)" : "");
  printf("console       mfn %lx port %u\n", start_info->console.mfn, start_info->console.evtchn);
  printf("xenstore      mfn %lx port %u\n", start_info->store_mfn, start_info->store_evtchn);
  printf("tsc           %" PRIu64 " kHz\n", time_tsc_khz());
  printf("command line  %s\n", start_info->cmd_line);
}

static void print_memory_map(void) {
  static struct e820entry entries[16];
  struct xen_memory_map map = {.nr_entries = 16, .buffer = HYPERCALL_POINTER(entries)};
  long result = HYPERVISOR_memory_op(XENMEM_memory_map, &map);
  if (result < 0) {
    printf("memory map    error %ld\n", result);
    return;
  }
  for (uint32_t i = 0; i < map.nr_entries; i++) {
    printf("memory map    %012" PRIx64 "-%012" PRIx64 " type %u\n", entries[i].addr, entries[i].addr + entries[i].size, entries[i].type);
  }
}

void command_mem(const char *arguments) {
  (void)arguments;
  domid_t self = DOMID_SELF;
  printf("domain        %lu pages, reservation %ld, at most %ld\n", start_info->nr_pages,
         HYPERVISOR_memory_op(XENMEM_current_reservation, &self), HYPERVISOR_memory_op(XENMEM_maximum_reservation, &self));
  printf("free          %lu pages\n", mm_pages_free());
  printf("kernel        %p-%p\n", (void *)kernel_start, (void *)kernel_end);
  printf("mapped        %p-%p\n", (void *)virt_base, mm_mapped_end());
  printf("p2m list      %lx\n", start_info->mfn_list);
  printf("start info    %p\n", (void *)start_info);
  printf("page tables   %lx, %lu frames\n", start_info->pt_base, start_info->nr_pt_frames);
  printf("machine       frames to %lx; pfn 0 is mfn %lx\n", (unsigned long)HYPERVISOR_memory_op(XENMEM_maximum_ram_page, NULL),
         mm_pfn_to_mfn(0));
  print_memory_map();
}

#define WORDS ((int)(PAGE_SIZE / sizeof(unsigned long)))

/* Takes every page there is, so that the allocator maps them all, and checks that each keeps what was written to it. */
void command_memtest(const char *arguments) {
  (void)arguments;
  struct checks checks = {0, 0};
  unsigned long *first = NULL, taken = 0, wrong = 0, seen = 0;
  uint64_t begin = time_now();
  for (unsigned long *page; (page = mm_page_alloc()) != NULL; first = page, taken++) {
    page[0] = HYPERCALL_POINTER(first);
    for (int i = 1; i < WORDS; i++) page[i] = mm_virt_to_mfn(page) * WORDS + (unsigned long)i;
  }
  for (unsigned long *page = first, *next; page; page = next, seen++) {
    next = (unsigned long *)page[0];
    for (int i = 1; i < WORDS; i++) wrong += page[i] != mm_virt_to_mfn(page) * WORDS + (unsigned long)i;
    mm_page_free(page);
  }
  check(&checks, taken > 0 && seen == taken && wrong == 0, "%lu pages written and read back, %lu words wrong, %lu ms", taken,
        wrong, (unsigned long)((time_now() - begin) / NSEC_PER_MSEC));
  check(&checks, mm_pages_free() >= taken, "%lu pages are free again", mm_pages_free());
  checks_print("memtest", &checks);
}
