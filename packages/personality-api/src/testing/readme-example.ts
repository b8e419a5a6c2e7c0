import { PERSONALITY_API_VERSION, type Personality } from '@paravane/personality-api';

/** Stops its domain at the first thing that the guest asks for. */
export const impatient: Personality = {
  name: 'impatient',
  apiVersion: PERSONALITY_API_VERSION,
  beforeRun: () => undefined,
  handleExit: ({ id, domain }, exit) =>
    domain.shutdown({ reason: 'crash', code: 3, detail: exit.reason, report: [], vcpu: id, time: 0 }),
  scheduled: () => undefined,
  destroyDomain: () => undefined,
  hashState: () => undefined,
};
