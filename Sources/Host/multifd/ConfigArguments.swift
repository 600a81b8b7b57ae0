import ArgumentParser

/// Options from a file, see ``Configuration``: that reads these before the command is parsed.
struct ConfigArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A file with options of this command, by their long names; what is given here counts more.",
      discussion: "TOML, as multifd.toml(5) has it.", valueName: "file"),
    completion: .file())
  var config: String?

  @Flag(help: "Print what each option is and where it is from, as such a file, and end.")
  var printConfig = false
}
