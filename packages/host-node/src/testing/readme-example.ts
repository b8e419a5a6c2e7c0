import { folderSource, pullGuest } from '@paravane/host-node';

/** Makes a guest of the package in a folder, grub-xen-host_*.deb: the name of its configuration. */
export async function pullGrub(folder: string, home: string): Promise<string> {
  const source = folderSource(folder);
  const { configFile } = await pullGuest({ guest: 'grub', source, home, progress: console.log });
  return configFile; // grub/grub.cfg below home
}
