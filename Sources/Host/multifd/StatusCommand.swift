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
    discussion: "Exit code 0: there is a guest that can be continued from here; 1: there is none.")

  @Option(help: ArgumentHelp("The folder.", valueName: "dir"), completion: .directory)
  var store: String

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
    var rehearsal: Rehearsal?
    var memory: Memory?
    var disks: [DiskReport]?

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
      case store, guest, machine, ram, checkpoint, age, activity, stale, rehearsal, memory, disks
      case inUse = "in-use"
      case handedOverTo = "handed-over-to"
    }
  }

  func run() throws {
    let status: Store.Status
    do { status = try Store.status(of: store) } catch { throw Failure(error, at: "status") }
    let manifest = status.manifest
    let isStandby = manifest?.state == .standby
    let report = Report(
      store: store, guest: manifest?.state.rawValue ?? "none", machine: manifest?.machine,
      ram: manifest?.ramSize,
      checkpoint: status.checkpoint?.number ?? (isStandby ? 0 : nil),
      age: status.checkpoint.map { Date().timeIntervalSince1970 - $0.committedAt },
      activity: status.state, inUse: status.inUse, handedOverTo: manifest?.handedOverTo,
      stale: manifest?.isFromBeforeBoot ?? false,
      rehearsal: manifest.flatMap { manifest in
        // Of a guest that can be continued.
        manifest.state == .held || isStandby ? Rehearsal.last(of: store, manifest) : nil
      }, memory: status.memory.flatMap(Report.Memory.init),
      // They are a process's: what one has left says nothing of now.
      disks: status.inUse ? DiskReport.read(from: store) : nil)
    if json { Console.json(report) } else { print(text(report)) }
    guard manifest?.state == .held || isStandby, !report.stale else {
      throw ExitCode(1)
    }
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
    if let to = report.handedOverTo { lines.append("handed to   \(to)") }
    // The store may be somebody else's.
    return lines.map { Console.printable($0.replacing("\n", with: " ")) }.joined(separator: "\n")
  }
}
