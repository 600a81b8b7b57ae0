import ArgumentParser
import Foundation
import Memory
import Migration
import Roles
import Store

/// `multifd status`.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "What a store holds, and what the process that serves it is doing.",
    usage: "multifd status (--store DIR | --control PATH) [--watch] [--json]",
    discussion: """
      Exit code 0: there is a guest that can be continued from here; 1: there is none. With --control: 0 where \
      somebody answers.
      """)

  @Option(help: ArgumentHelp("The folder.", valueName: "dir"), completion: .directory)
  var store: String?

  @Option(
    help: ArgumentHelp(
      "The control socket of a process that has no store, as it was told by --control.",
      valueName: "path"), completion: .file())
  var control: String?

  @Flag(help: "Once a second, until it is ended.")
  var watch = false

  @Flag(help: "Print JSON.")
  var json = false

  /// The facts, in stable words.
  struct Report: Encodable {
    var store: String
    var guest: String
    var machine: String?
    var ram: UInt64?
    var checkpoint: Int?
    var age: Double?
    var activity: String?
    var inUse: Bool
    var handedOverTo: String?
    var stale: Bool
    var ended: String?
    var goesOn: Bool?
    var rehearsal: Rehearsal?
    var memory: Memory?
    var disks: [DiskReport]?
    var process: RoleStatus?

    /// What the RAM takes, and lies on.
    struct Memory: Encodable {
      /// Bytes.
      var bytes: Int
      /// Bytes of the pages that were found most.
      var pageSize: Int
      var fileSystem: FilePages.FileSystem
      /// Places that were looked at, and how many of them were huge pages.
      var places: Int
      var huge: Int

      enum CodingKeys: String, CodingKey {
        case bytes, places, huge
        case pageSize = "page-size"
        case fileSystem = "file-system"
      }

      init?(_ use: Store.MemoryUse) {
        let pages = use.pages
        guard let fileSystem = pages.fileSystem, pages.places > 0 else { return nil }
        (bytes, pageSize, self.fileSystem) = (use.bytes, pages.pageSize, fileSystem)
        (places, huge) = (pages.places, pages.huge)
      }
    }

    enum CodingKeys: String, CodingKey {
      case store, guest, machine, ram, checkpoint, age, activity, stale, ended, rehearsal
      case memory, disks, process
      case inUse = "in-use"
      case goesOn = "goes-on"
      case handedOverTo = "handed-over-to"
    }
  }

  func validate() throws {
    guard (store == nil) != (control == nil) else {
      throw ValidationError("--store or --control: one of them")
    }
  }

  func run() throws {
    while watch {
      let text = (try? look().text) ?? "nobody answers"
      // On a terminal in place of what was there.
      print(isatty(STDOUT_FILENO) == 1 ? "\u{1b}[H\u{1b}[J\(text)" : text)
      fflush(nil)
      sleep(1)
    }
    let (text, isFine) = try look()
    print(text)
    guard isFine else { throw ExitCode(1) }
  }

  /// Looks once.
  ///
  /// - Returns: what is to be shown, and whether there is what was asked for.
  private func look() throws -> (text: String, isFine: Bool) {
    if let store { return try look(atStore: store) }
    let status = try Self.process(control ?? "")
    return (json ? Console.text(json: status) : Self.text(status.lines), true)
  }

  /// What a process says of itself.
  private static func process(_ path: String) throws(Failure) -> RoleStatus {
    let answer = try ControlCommand.ask(path, "query-status")
    guard let status = answer.decoded(RoleStatus.self) else {
      throw Failure(.failed, "control", "\(path) says nothing of a role yet")
    }
    return status
  }

  private func look(atStore store: String) throws -> (text: String, isFine: Bool) {
    let status: Store.Status
    do { status = try Store.status(of: store) } catch { throw Failure(error, at: "status") }
    let manifest = status.manifest
    let isStandby = manifest?.state == .standby
    let isThere = manifest?.state == .held || isStandby && manifest?.ended == nil
    let report = Report(
      store: store, guest: manifest?.state.rawValue ?? "none", machine: manifest?.machine,
      ram: manifest?.ramSize,
      checkpoint: status.checkpoint?.number ?? (isStandby ? 0 : nil),
      age: status.checkpoint.map { Date().timeIntervalSince1970 - $0.committedAt },
      activity: status.state, inUse: status.inUse, handedOverTo: manifest?.handedOverTo,
      stale: manifest?.isFromBeforeBoot ?? false, ended: manifest?.ended,
      goesOn: manifest?.goesOn,
      rehearsal: manifest.flatMap { manifest in
        // Of a guest that can be continued.
        isThere ? Rehearsal.last(of: store, manifest) : nil
      }, memory: status.memory.flatMap(Report.Memory.init),
      // They are a process's: what one has left says nothing of now.
      disks: status.inUse ? DiskReport.read(from: store) : nil,
      process: status.inUse ? try? Self.process(store + "/control") : nil)
    return (
      json ? Console.text(json: report) : text(report),
      isThere && !report.stale
    )
  }

  /// Whatever is told may be somebody else's word.
  private static func text(_ lines: [String]) -> String {
    lines.map { Console.printable($0.replacing("\n", with: " ")) }.joined(separator: "\n")
  }

  private func text(_ disk: DiskReport) -> String {
    var text = "\(disk.name) \(disk.state)"
    switch disk.state {
    case "syncing":
      text += ", \(Console.bytes(UInt64(disk.covered))) of \(Console.bytes(UInt64(disk.size)))"
    case "protected":
      text += ", epoch \(disk.epoch), \(Console.bytes(UInt64(disk.epochBytes))) in it"
      if disk.backlog > 0 { text += ", \(Console.bytes(UInt64(disk.backlog))) behind" }
    default: break
    }
    if let reason = disk.reason { text += ": \(reason)" }
    return text + (disk.connected || disk.state == "lost" ? "" : ", no mirror connected")
  }

  private func text(_ report: Report) -> String {
    var lines = ["guest       \(report.guest)"]
    if let machine = report.machine { lines.append("machine     \(machine)") }
    if let ram = report.ram { lines.append("ram         \(Console.bytes(ram))") }
    if let memory = report.memory {
      let mixed = (1..<memory.places).contains(memory.huge)
      lines.append(
        "memory      \(Console.bytes(UInt64(memory.bytes))) in "
          + Console.pages(memory.pageSize, memory.fileSystem)
          + (mixed ? ", \(memory.huge) of \(memory.places) places huge" : ""))
    }
    if let checkpoint = report.checkpoint {
      let age = report.age.map { String(format: ", %.1f s old", $0) } ?? ""
      lines.append("checkpoint  \(checkpoint)\(age)")
    }
    for disk in report.disks ?? [] { lines.append("disk        \(text(disk))") }
    if let activity = report.activity { lines.append("activity    \(activity)") }
    if let rehearsal = report.rehearsal {
      lines.append("failover    \(rehearsal)")
      if let hint = rehearsal.hint { lines.append("hint        \(hint)") }
    }
    lines.append("in use      \(report.inUse ? "yes" : "no")")
    if report.stale {
      lines.append("note        from before this machine was started: it may be torn")
    }
    if let ended = report.ended {
      lines.append(
        report.goesOn == true
          ? "goes on     alone at its primary (\(ended)): not to be continued here"
          : "ended       \(ended): not to be continued")
    }
    if let to = report.handedOverTo { lines.append("handed to   \(to)") }
    lines += report.process?.lines ?? []
    return Self.text(lines)
  }
}
