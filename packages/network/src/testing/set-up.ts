/** A user-mode network with one guest, a host made of memory, and a clock that stands still. */
import { createUserNetwork, type UserNetworkOptions } from '../user/user-network.js';
import { createManualClock } from './manual-clock.js';
import { createMemoryHost } from './memory-host.js';
import { randomNumbers } from './random.js';
import { createTestGuest, type TestGuestOptions } from './test-guest.js';

export function setUp(options: Partial<UserNetworkOptions> = {}, guestOptions: Partial<TestGuestOptions> = {}) {
  const clock = createManualClock();
  const host = createMemoryHost(clock);
  const network = createUserNetwork({ clock, host, random: randomNumbers(7), ...options });
  const guest = createTestGuest({ link: network, clock, ...guestOptions });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      await Promise.resolve();
      clock.advance(1);
    }
  };
  return { clock, host, network, guest, settle };
}
