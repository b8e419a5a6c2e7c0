/**
 * The keys of xl.cfg(5): which ones Paravane acts on, and which ones it knows but does not act on yet. A key in neither
 * set is most likely a slip of the pen.
 */

export const supportedKeys: ReadonlySet<string> = new Set([
  'name',
  'type',
  'builder',
  'kernel',
  'ramdisk',
  'cmdline',
  'root',
  'extra',
  'memory',
  'maxmem',
  'vcpus',
  'cpu_weight',
  'cap',
  'cpuid',
  'on_poweroff',
  'on_reboot',
  'on_crash',
  'disk',
  'vif',
  'channel',
]);

export const laterKeys: ReadonlySet<string> = new Set(
  `
  uuid seclabel init_seclabel device_tree passthrough xend_suspend_evtchn_compat vmtrace_buf_kb
  maxvcpus cpus cpus_soft pool vnuma vpmu
  on_watchdog on_soft_reset
  bootloader bootloader_args pvshim pvshim_path pvshim_cmdline pvshim_extra e820_host
  driver_domain max_grant_frames max_maptrack_frames max_grant_version max_event_channels nomigrate
  vfb vkb vdispl vsnd vtpm p9 pvcalls virtio serial usbctrl usbdev usb usbdevice usbversion
  pci pci_permissive pci_msitranslate pci_seize pci_power_mgmt gfx_passthru rdm rdm_mem_boundary dtdev ioports irqs iomem
  boot hdtype hap oos shadow_memory bios bios_path_override firmware firmware_override pae acpi acpi_s3 acpi_s4
  acpi_laptop_slate apic nx hpet altp2m altp2mhvm nestedhvm mca_caps acpi_firmware smbios_firmware smbios
  ms_vm_genid tsc_mode localtime rtc_timeoffset vpt_align timer_mode timer_resolution
  xen_platform_pci viridian vm_genid mmio_hole argo
  videoram stdvga vga vnc vnclisten vncdisplay vncunused vncpasswd keymap sdl opengl nographic
  spice spicehost spiceport spicetls_port spicedisable_ticketing spicepasswd spiceagent_mouse spicevdagent
  spice_clipboard_sharing spiceusbredirection
  soundhw dm_restrict device_model_version device_model_override device_model_user
  stubdomain_kernel stubdomain_ramdisk stubdomain_cmdline stubdomain_memory device_model_stubdomain_override
  device_model_stubdomain_seclabel device_model_args device_model_args_pv device_model_args_hvm
  suppress_spurious_page_faults gic_version vuart tee
  `
    .split(/\s+/)
    .filter((key) => key !== ''),
);
