/** What main.ts runs: the command line with all that it is made of. */
import { launch } from './launch.js';
import { parts } from './parts.js';

void launch(parts);
