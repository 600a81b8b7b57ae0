import ArgumentParser

/// What multifd costs next to stock QEMUs that do the same.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures multifd next to stock QEMUs.",
    subcommands: [
      BenchPage.self, BenchScale.self, BenchStore.self, BenchRelay.self, BenchAhead.self,
    ],
    defaultSubcommand: BenchPage.self)
}
