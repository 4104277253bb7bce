export async function runSim(argv: readonly string[]): Promise<number> {
  return argv.length;
}
