#!/usr/bin/env node
/** `paravane`. */
import { launch } from './launch.js';
import { parts } from './parts.js';

await launch(parts);
