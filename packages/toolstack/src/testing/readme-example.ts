import { formatDiagnostic, readDomainConfig } from '@paravane/toolstack';

const { config, diagnostics } = readDomainConfig('name = "guest"\nkernel = "vmlinuz"\nmemmory = 64\n');
for (const diagnostic of diagnostics) console.log(formatDiagnostic('guest.cfg', diagnostic));
// guest.cfg:3:1: warning: unknown key "memmory" (did you mean "memory"?); it has no effect
console.log(config?.memory); // 128
