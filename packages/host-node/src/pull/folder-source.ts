/** Packages from a folder of `.deb` files. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ParavaneError } from '@paravane/types';
import { fileCause, readWhole } from '../files.js';
import { compareVersions } from './control.js';
import { readDeb } from './deb.js';
import { architectureOf, type FetchedPackage, type PackageSource, wanted } from './source.js';

export function folderSource(folder: string): PackageSource {
  return {
    description: { kind: 'folder', folder },
    async fetch(request) {
      const architecture = architectureOf(request);
      let found: (FetchedPackage & { version: string }) | undefined;
      for (const file of packageFiles(folder, request.name)) {
        const bytes = readWhole(join(folder, file), 'the package');
        const { name, version, architecture: built } = readDeb(bytes, join(folder, file));
        if (name !== request.name || (built !== architecture && built !== 'all')) continue;
        if (request.version !== undefined && request.version !== version) continue;
        if (found === undefined || compareVersions(found.version, version) < 0) found = { file, bytes, version };
      }
      if (found !== undefined) return found;
      throw new ParavaneError(
        'package-missing',
        `there is no package ${wanted(request)} for ${architecture} in ${folder}: put its .deb file there`,
        { data: { folder, ...request } },
      );
    },
  };
}

function packageFiles(folder: string, name: string): string[] {
  try {
    return readdirSync(folder).filter((file) => file.startsWith(`${name}_`) && file.endsWith('.deb'));
  } catch (cause) {
    throw new ParavaneError('folder-unreadable', `cannot read the folder ${folder}: ${fileCause(cause)}`, {
      cause,
      data: { folder },
    });
  }
}
