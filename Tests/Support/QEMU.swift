import Foundation

/// A running stock QEMU with the lab's guest in it, or waiting for one to come in. Under TCG, which
/// runs everywhere, but for a machine that says otherwise.
public final class QEMU: Sendable {
  /// What the virtual machine is: equal on both sides of a migration.
  public struct Machine: Sendable {
    /// The machine type, as `-machine` takes it.
    public var type: String
    /// RAM in MiB. The guest's kernel needs 80.
    public var memory: Int
    /// MiB of text-like pages that are written once, at the start.
    public var fill: Int
    /// MiB of pages that the guest rewrites at its rate.
    public var workingSet: Int
    /// What the pages hold: `zero`, `text` or `rand`.
    public var mix: String
    /// Milliseconds between heartbeats.
    public var heartbeat: Int
    /// The guest's program: an initramfs.
    public var initrd = Lab.initrd
    /// Whose firmware is the guest: a file, for what QEMU has of its own and the lab's kernel.
    public var firmware: String?
    /// What runs it: `tcg` or `kvm`.
    public var accelerator = "tcg"
    /// What the kernel's command line says to another guest than that of pages.
    public var words: String?
    /// More arguments of QEMU's: memory backends, DIMMs, NUMA nodes.
    public var more: [String] = []

    /// A machine with a small, mostly text-like guest.
    public init(
      type: String, memory: Int = 128, fill: Int = 16, workingSet: Int = 16, mix: String = "text",
      heartbeat: Int = 250
    ) {
      self.type = type
      self.memory = memory
      self.fill = fill
      self.workingSet = workingSet
      self.mix = mix
      self.heartbeat = heartbeat
    }

    /// MiB that are not zero once the guest has booted, at most: what it fills, its programs, and
    /// what its kernel has for each page.
    public var used: Int { min(memory, fill + workingSet + 192 + memory / 32) }

    var arguments: [String] {
      [
        "-machine", type, "-accel", accelerator, "-cpu", "qemu64", "-smp", "1", "-m",
        "\(memory)M", "-nodefaults", "-no-user-config", "-display", "none",
      ] + (firmware.map { ["-bios", $0] } ?? boot) + more
    }

    private var boot: [String] {
      [
        "-kernel", Lab.kernel, "-initrd", initrd, "-append",
        "console=ttyS0 quiet mitigations=off \(Self.hurry) lab.hb=\(heartbeat) "
          + (words ?? pages),
      ]
    }

    // no_timer_check: on a busy machine TCG's timer may look broken to a kernel that boots. The rest
    // is a fifth of its boot that is no use here: what a kernel tries of its ciphers, keys, probes.
    private static let hurry =
      "no_timer_check cryptomgr.notests initcall_blacklist="
      + "crypto_kdf108_init,init_kprobe_trace,load_system_certificate_list,cubictcp_register"

    private var pages: String {
      "lab.ws=\(workingSet) lab.fill=\(fill) lab.mix=\(mix) lab.fillmix=\(mix)"
    }
  }

  /// Which QEMU it is.
  public let version: QEMUVersion
  /// The machine it runs.
  public let machine: Machine
  /// Its control connection.
  public let qmp: QMPClient
  /// The guest's serial line.
  public let console: GuestConsole
  /// The process.
  public let process: ChildProcess
  private let folder: TemporaryFolder

  /// Starts `version` with `machine`, and `arguments` more. With `incoming` (a migration URI, or
  /// `defer`) it waits for a guest, else the guest boots. `wrapper` is as `MultiFDProcess`'s. Throws
  /// with QEMU's own words when it does not come up.
  public init(
    _ version: QEMUVersion, _ machine: Machine, incoming: String? = nil, arguments: [String] = [],
    wrapper: [String] = []
  ) throws {
    self.version = version
    self.machine = machine
    folder = try TemporaryFolder()
    var all = machine.arguments
    // wait=on: the guest's first line cannot be missed.
    all += ["-chardev", "socket,id=ser,path=\(folder("ser")),server=on,wait=on"]
    all += ["-serial", "chardev:ser", "-qmp", "unix:\(folder("qmp")),server=on,wait=off"]
    if let incoming { all += ["-incoming", incoming] }
    let process = try ChildProcess(wrapper + version.command(all + arguments))
    self.process = process
    do {
      console = try GuestConsole(path: folder("ser")) { process.isRunning }
      qmp = try QMPClient(path: folder("qmp")) { process.isRunning }
    } catch {
      process.terminate()
      throw LabError("QEMU \(version): \(error) \(process.errors.text.suffix(500))")
    }
  }

  deinit { process.kill() }

  /// What it wrote to stderr, without what it always writes here.
  public var complaints: String {
    process.errors.lines.map(\.text)
      .filter { !$0.contains("QEMU waiting for connection") && !$0.contains("is deprecated") }
      .suffix(5).joined(separator: "; ")
  }

  /// Ends it: kindly, then by force.
  public func terminate() {
    _ = try? qmp.execute("quit", timeout: .seconds(5))
    if process.wait(.seconds(5)) == nil {
      process.kill()
      _ = process.wait(.seconds(10))
    }
  }

  /// Waits until the guest has booted and beats for the first time.
  public func waitBooted(_ timeout: Duration = .seconds(180)) throws {
    guard console.waitHeartbeat(timeout) != nil else {
      throw LabError(
        "the guest in QEMU \(version) did not boot: \(console.log.text.suffix(300)) "
          + complaints)
    }
  }

  /// What `query-status` says: `running`, `paused`, `postmigrate` …
  public func status() throws -> String { try qmp.execute("query-status")["status"].string ?? "" }

  /// Waits until the guest's virtual CPUs run.
  public func waitRunning(_ timeout: Duration = .seconds(30)) throws {
    let deadline = ContinuousClock.now + timeout
    while try status() != "running" {
      guard ContinuousClock.now < deadline else {
        throw LabError("QEMU \(version) is \(try status()) and not running after \(timeout)")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  /// Waits until an incoming guest is there: running, or paused as it was at its source.
  public func waitLoaded(_ timeout: Duration = .seconds(60)) throws {
    let deadline = ContinuousClock.now + timeout
    while try status() == "inmigrate" {
      guard ContinuousClock.now < deadline else {
        throw LabError("no guest came into QEMU \(version) within \(timeout)")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }
}
