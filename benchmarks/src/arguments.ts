/** What a benchmark's command was given. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

type Given<T extends ParseArgsConfig> = ReturnType<typeof parseArgs<T>>;

export interface Arguments<T extends ParseArgsConfig> {
  readonly given: Given<T>;
  /** Ends the command with a sentence, its usage and status 2. */
  fail(message: string): never;
}

/** As `parseArgs` reads them; `--help` prints the usage, and what is unknown ends with it and status 2. */
export function readArguments<const T extends ParseArgsConfig>(usage: string, config: T): Arguments<T> {
  const fail = (message: string): never => {
    console.error(`${message}\n\n${usage}`);
    process.exit(2);
  };
  if (process.argv.some((argument) => argument === '--help' || argument === '-h')) {
    console.log(usage);
    process.exit(0);
  }
  try {
    return { given: parseArgs(config), fail };
  } catch (error) {
    return fail((error as Error).message);
  }
}

/** A number above zero; ends the command where it is none. */
export function above(
  name: string,
  text: string | undefined,
  { fail }: Pick<Arguments<ParseArgsConfig>, 'fail'>,
): number {
  const value = Number(text);
  return value > 0 ? value : fail(`--${name} takes a number above zero`);
}
