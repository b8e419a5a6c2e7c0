/** The words of errors that every link shares. */
import { ParavaneError } from '@paravane/types';

export type LinkErrorCode = 'link-in-use' | 'link-mac';

/** For an `attach` on a link that has a user. */
export function linkInUse(name: string): ParavaneError<LinkErrorCode> {
  return new ParavaneError('link-in-use', `${name} has a user already: make another port for another interface`, {
    data: { name },
  });
}
