#!/usr/bin/env node
/** `paravane`. */
import { prepareV8 } from '@paravane/host-node';
import { launch } from './launch.js';
import { parts } from './parts.js';

prepareV8();
await launch(parts);
