// multifd-fuzz: what comes from a peer, changed at random, must give a typed error or a correct decode.
// Anything else (a trap, a hang, memory beyond the limits, an outcome that depends on how the bytes
// arrive) fails, with what does it again.
//
//   mutate   seeded changes of recorded streams and of a link's frames: no instrumentation needed
//   guided   libFuzzer, which keeps what comes to code that nothing has come to before
import ArgumentParser

@main
struct FuzzCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "multifd-fuzz", abstract: "Tries what a hostile peer could send.",
    subcommands: [MutateCommand.self, GuidedCommand.self], defaultSubcommand: MutateCommand.self)
}
