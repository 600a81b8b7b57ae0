import Foundation
import TestSupport
import Testing

/// `--config` and `--print-config`, as an operator meets them.
@Suite("Options from a file")
struct ConfigTests {
  private let folder: TemporaryFolder
  private var file: String { folder("guest.toml") }

  init() throws { folder = try TemporaryFolder() }

  private func write(_ text: String, mode: Int = 0o600) throws {
    try Data(text.utf8).write(to: URL(filePath: file))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file)
  }

  /// Option by option what `--print-config` says, and where it is from.
  private func printed(_ arguments: [String]) throws -> [String: String] {
    let result = try MultiFDProcess.run(arguments + ["--print-config"], .seconds(20))
    #expect(result.code == 0 && result.errors.isEmpty, "\(result)")
    var lines: [String: String] = [:]
    for line in result.output.split(separator: "\n") {
      let sides = line.split(separator: " = ", maxSplits: 1)
      if sides.count == 2 { lines[String(sides[0])] = String(sides[1]) }
    }
    return lines
  }

  private let standby = """
    role = "receive"
    listen = "tcp:127.0.0.1:0" # here
    store = '/nonexistent/with "quotes"'
    channels = 4
    timeout = 12.5
    colo = true
    switchover-ack = false
    disks = "unix:/nonexistent/nbd"
    disk = [
      "disk0=/tmp/a",
      "disk1=/tmp/b",
    ]
    fence = "true; exit 0"
    on-loss = "failover"
    command = ["qemu-system-x86_64", "-name", "--a=b", "-m", "64"]
    """

  @Test("each option is the command line's, or the file's, or has its default")
  func origins() throws {
    try write(standby)
    let lines = try printed(["receive", "--config", file, "--timeout=7", "--cache", "mirror"])
    #expect(lines["listen"] == "\"tcp:127.0.0.1:0\"  # \(file):2")
    #expect(lines["store"] == "\"/nonexistent/with \\\"quotes\\\"\"  # \(file):3")
    #expect(lines["channels"] == "4  # \(file):4" && lines["timeout"] == "7  # command line")
    #expect(lines["colo"] == "true  # \(file):6" && lines["switchover-ack"] == "false  # \(file):7")
    #expect(lines["disk"] == "[\"disk0=/tmp/a\", \"disk1=/tmp/b\"]  # \(file):9")
    #expect(lines["cache"] == "\"mirror\"  # command line")
    #expect(lines["fence-timeout"] == "60.0  # default" && lines["json"] == "false  # default")
    #expect(
      lines["command"]
        == "[\"qemu-system-x86_64\", \"-name\", \"--a=b\", \"-m\", \"64\"]  # \(file):15")
    #expect(lines["uuid"] == nil && lines["adopt"] == nil)
  }

  @Test("what is repeated, and the command behind --, is replaced as a whole")
  func replaced() throws {
    try write(standby)
    let lines = try printed(["--config", file, "--disk", "z=/tmp/z"])
    #expect(lines["disk"] == "[\"z=/tmp/z\"]  # command line")
    let behind = try MultiFDProcess.run([
      "receive", "--config", file, "--print-config", "--", "qemu-system-arm", "--config",
    ])
    #expect(
      behind.output.contains("command = [\"qemu-system-arm\", \"--config\"]  # command line"),
      "\(behind)")
  }

  @Test("of what the command line says itself the file's counts for nothing, wrong as it may be")
  func outweighed() throws {
    try write(
      standby.replacing("timeout = 12.5", with: "timeout = \"long\"")
        .replacing("\"disk0=/tmp/a\"", with: "\"wrong\""))
    let words = ["--config", file, "--print-config"]
    let none = try MultiFDProcess.run(words)
    #expect(none.code == 64 && none.errors.contains("timeout: \(file):"), "\(none)")
    let one = try MultiFDProcess.run(words + ["--timeout", "7"])
    #expect(one.code == 64 && one.errors.contains("disk: \(file):"), "\(one)")
    // What is parsed, and not only what is told of it.
    let both = try MultiFDProcess.run(words + ["--timeout", "7", "--disk=z=/tmp/z"])
    #expect(both.code == 0, "\(both)")
  }

  @Test("what is printed is a file that says the same")
  func back() throws {
    try write(standby)
    let words = [
      "receive", "--config", file, "--timeout", "7", "--tls-authz=a\"\u{1}\u{9b}é", "--tls-creds",
      "4",
    ]
    let first = try MultiFDProcess.run(words + ["--adopt", "--print-config"])
    #expect(first.code == 0 && first.output.contains("# adopt = true  # command line"), "\(first)")
    #expect(first.output.contains("tls-authz = [\"a\\\"\\u0001\\u009bé\"]"), "\(first)")
    try write(first.output)
    let second = try MultiFDProcess.run(["receive", "--config", file, "--print-config"])
    func values(_ text: String) -> [Substring] {
      text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        .map { $0.split(separator: "  # ")[0] }
    }
    #expect(second.code == 0 && values(first.output) == values(second.output), "\(second)")
  }

  @Test("a choice of two can be made in a file, and made otherwise on the command line")
  func choice() throws {
    try write(
      "role = \"send\"\nstore = \"/nonexistent\"\nto = \"tcp:127.0.0.1:9\"\nverify = false\n")
    #expect(try printed(["--config", file])["verify"] == "false  # \(file):4")
    #expect(try printed(["--config", file, "--verify"])["verify"] == "true  # command line")
  }

  @Test("the file does what the options do: a relay that listens where it says")
  func works() throws {
    try write(
      """
      role = "relay"
      listen = "unix:\(folder("in"))"
      to = "unix:\(folder("out"))"
      """)
    let relay = try MultiFDProcess(["--config", file])
    #expect(try relay.waitListening() == "unix:\(folder("in"))")
    relay.process.kill(SIGTERM)
    #expect(try relay.wait(.seconds(20)).code == 128 + SIGTERM)
  }

  @Test(
    "what is wrong is named with file, line and key, and is wrong usage",
    arguments: [
      ("stor = \"x\"", 1, "stor: 'receive' has no such option"),
      ("\nstore = true", 2, "store: it is one string"),
      ("colo = 1", 1, "colo: it is true or false"),
      ("colo = \"true\"", 1, "colo: it is true or false"),
      ("disk = \"a=b\"", 1, "disk: it is a list"), ("disk = [true]", 1, "disk: a list has strings"),
      ("command = \"qemu\"", 1, "command: it is a list"), ("store = ['a']", 1, "store: it is one"),
      ("store = 1\nstore = 2", 2, "'store' is there twice"), ("store = {}", 1, "store: inline"),
      ("store = \"a\\u0000b\"", 1, "store: there is a NUL"),
      ("config = \"x\"", 1, "config: 'receive'"),
      ("help = true", 1, "help: 'receive'"), ("[receive]", 1, "[receive]: there are no tables"),
      ("role = \"relay\"", 1, "role: this file is for 'multifd relay'"),
      ("role = \"status\"", 1, "role: a role is one of \"receive\""),
      ("adopt = true", 1, "adopt: what is done once"),
      ("adopt = false", 1, "adopt: what is done once"),
    ])
  func wrong(text: String, line: Int, why: String) throws {
    try write(text)
    let result = try MultiFDProcess.run(["receive", "--config", file], .seconds(20))
    #expect(result.code == 64, "\(result)")
    #expect(
      result.errorLine?.hasPrefix("multifd: error: \(file):\(line): \(why)") == true, "\(result)")
  }

  @Test(
    "a value that the option refuses is told in its words, with its place",
    arguments: [
      ("channels = 300", "--channels must be 0 to 255 (channels: FILE:3)"),
      (
        "timeout = \"long\"",
        "The value 'long' is invalid for '--timeout <timeout>' (timeout: FILE:3)"
      ),
      ("no-fence = true", "--no-fence belongs to --on-loss failover (no-fence: FILE:3)"),
    ])
  func refused(text: String, why: String) throws {
    try write("store = \"/nonexistent\"\nlisten = \"tcp:127.0.0.1:0\"\n\(text)\n")
    let result = try MultiFDProcess.run(["receive", "--config", file], .seconds(20))
    #expect(result.code == 64, "\(result)")
    let told = "multifd: error: usage: \(why)".replacing("FILE", with: file)
    #expect(result.errorLine == told, "\(result)")
  }

  @Test("who else can write a file, or what is none, is not believed")
  func trust() throws {
    func run(_ path: String) throws -> MultiFDProcess.Result {
      try MultiFDProcess.run(["receive", "--config", path, "--print-config"], .seconds(20))
    }
    for mode in [0o620, 0o602] {
      try write(standby, mode: mode)
      let result = try run(file)
      #expect(result.code == 2 && result.errors.contains("is writable for others"), "\(result)")
    }
    try write(standby)
    let link = folder("link")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
    #expect(try run(link).code == 0)
    #expect(try run(folder.path).code == 2)
    #expect(mkfifo(folder("pipe"), 0o600) == 0)
    #expect(try run(folder("pipe")).code == 2)
    #expect(try run(folder("none")).code == 64)
    try write(standby + "\n#" + String(repeating: "x", count: 1 << 20))
    #expect(try run(file).errors.contains("longer than 1 MiB"))
    try Data([0x61, 0xff]).write(to: URL(filePath: file))
    #expect(try run(file).code == 64)
    guard geteuid() == 0 else { return SkipReason("files of others take root").announce("trust") }
    try write(standby)
    #expect(chown(file, 12345, gid_t.max) == 0)
    let result = try run(file)
    #expect(result.code == 2 && result.errors.contains("belongs to user 12345"), "\(result)")
  }

  @Test("the files in docs/config.md are taken as they stand")
  func documented() throws {
    let page = URL(filePath: #filePath).appending(path: "../../../docs/config.md").standardized
    let text = try String(contentsOf: page, encoding: .utf8)
    let files = text.matches(of: /(?m)^```\n(role = [^`]*)^```/).map { String($0.1) }
    #expect(files.count == 2)
    for text in files {
      try write(text)
      let lines = try printed(["--config", file])
      // Each of its keys is from there.
      let keys = text.split(separator: "\n").filter { $0.contains(/^[a-z-]+\s=/) }
      #expect(
        keys.count > 8 && keys.count == lines.values.count { $0.contains("  # \(file):") } + 1)
    }
  }

  @Test("a file that says no role needs a command; two files are one too many; help needs none")
  func which() throws {
    try write("store = \"/nonexistent\"")
    let none = try MultiFDProcess.run(["--config", file])
    #expect(none.code == 64 && none.errors.contains("does not say whose it is"), "\(none)")
    let two = try MultiFDProcess.run(["receive", "--config", file, "--config=\(file)"])
    #expect(two.code == 64 && two.errors.contains("one file"), "\(two)")
    for words in [["--config"], ["receive", "--config"], ["--config", "--timeout", "1"]] {
      let nothing = try MultiFDProcess.run(words)
      #expect(nothing.code == 64 && nothing.errors.contains("Missing value for"), "\(nothing)")
    }
    let behind = try MultiFDProcess.run(["--print-config", "--config", file])
    #expect(behind.code == 64 && behind.errors.contains("does not say whose it is"), "\(behind)")
    // Not looked at: that command has no such option.
    let other = try MultiFDProcess.run(["plugins", "path", "--config", "a", "--config", "b"])
    #expect(other.code == 64 && !other.errors.contains("one file"), "\(other)")
    let help = try MultiFDProcess.run(["receive", "--config", "/nonexistent", "--help"])
    #expect(help.code == 0 && help.output.contains("--print-config"), "\(help)")
  }
}
