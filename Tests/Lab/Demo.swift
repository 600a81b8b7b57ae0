import ArgumentParser
import Foundation
import TestSupport

/// One passage, told in plain sentences with what was measured.
struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Moves a running guest out of a stock QEMU, holds it, hands it to another; tells the story.",
    discussion: "Exit code 0 when the guest's memory was intact at the end, 1 when not.")

  @Option(help: "The guest's memory in MiB.")
  var memory = 256

  func validate() throws {
    guard (112...8192).contains(memory) else { throw ValidationError("--memory: 112 to 8192 MiB.") }
  }

  func run() throws {
    if let reason = MultiFDProcess.unavailable { throw LabError(reason.description) }
    let wanted: [QEMUVersion] = [.v111, .v72]
    guard
      let version = wanted.first(where: { $0.isAvailableElseAnnounce("the demo with QEMU \($0)") })
    else {
      say("Verdict: nothing shown. There is no stock QEMU on this machine: run `make setup`.")
      throw ExitCode(1)
    }
    let start = ContinuousClock.now
    do {
      try tell(version)
    } catch {
      say("\nVerdict: FAILED after \(seconds(start.duration(to: .now))). \(error)")
      throw ExitCode(1)
    }
    say(
      "\nVerdict: the guest left a stock QEMU, was held outside of any QEMU, and goes on in another one with "
        + "every page intact. (\(seconds(start.duration(to: .now))))")
  }

  private func tell(_ version: QEMUVersion) throws {
    var cell = Passage.Cell(version, version, channels: 2, compression: "zstd")
    cell.isLive = version > .v72
    say("multifd demo: a virtual machine leaves a stock QEMU, is held, and goes on in another.\n")
    let passage = try boot(cell)
    defer { passage.end() }
    let taken = try takeIn(passage)
    try hold(passage)
    try handOut(passage, taken)
  }

  private func boot(_ cell: Passage.Cell) throws -> Passage {
    var machine = QEMU.Machine(type: cell.machine, memory: memory)
    machine.fill = (memory - 96) / 2
    let start = ContinuousClock.now
    let saved = try SavedGuest(cell.source, machine)
    say(
      "1. A Linux guest with \(memory) MiB of memory booted in a stock QEMU \(cell.source), machine type "
        + "\(cell.machine), in \(seconds(start.duration(to: .now))).")
    let passage = try Passage(cell, saved)
    say(
      "   Its only process owns \(machine.fill + machine.workingSet) MiB of text-like pages, checks them all "
        + "the time, and beats every \(machine.heartbeat) ms.")
    return passage
  }

  private func takeIn(_ passage: Passage) throws -> Passage.TakenIn {
    let taken = try passage.takeIn()
    let way = passage.cell.isLive ? "while it ran and wrote 2 MiB/s" : "stopped (7.2 under TCG)"
    say(
      "\n2. QEMU was told `migrate`, with capability multifd, \(passage.cell.channels) channels and zstd; the "
        + "other end was `multifd receive`.")
    var line = "   The guest came in \(way), in \(seconds(taken.outcome.wall))"
    if let downtime = taken.outcome.statistics["downtime"].int {
      line += ", stopped for \(downtime) ms"
    }
    say(line + ".")
    let json = taken.receive.json
    if let bytes = json["transferred"].int, bytes > 0 {
      let factor = Double(memory << 20) / Double(bytes)
      say(
        "   \(size(bytes)) crossed the wire for \(memory) MiB of memory, \(String(format: "%.1f", factor)) times "
          + "less.")
    }
    if let normal = json["ram"]["normal"].int, let zero = json["ram"]["duplicate"].int {
      say("   \(normal) pages came with content, \(zero) were told to be zero.")
    }
    let (pages, count) = try RAMComparison.differences(passage.source, passage.storedRAM)
    guard count == 0 else {
      throw LabError("\(count) pages in the store differ from the source's, at \(pages).")
    }
    say("   The store's copy equals the stopped source's memory byte for byte.")
    return taken
  }

  private func hold(_ passage: Passage) throws {
    passage.endSource()
    let attributes = try FileManager.default.attributesOfItem(atPath: passage.storedRAM)
    let length = (attributes[.size] as? NSNumber)?.intValue ?? 0
    var status = stat()
    stat(passage.storedRAM, &status)
    say(
      "\n3. The source QEMU was ended. The guest is now \(size(length)) of memory in a file (\(size(Int(status.st_blocks) * 512)) "
        + "of it in use) and a small device state; no QEMU runs.")
  }

  private func handOut(_ passage: Passage, _ taken: Passage.TakenIn) throws {
    let (destination, port) = try passage.startDestination()
    defer { destination.terminate() }
    let out = try passage.handOut(to: destination, port, after: taken.lastHeartbeat)
    say(
      "\n4. A fresh stock QEMU \(destination.version) waited with `-incoming`. `multifd send` handed the guest over in "
        + "\(seconds(out.wall)), and QEMU acknowledged it.")
    say(
      "   The guest's last heartbeat at its source was number \(taken.lastHeartbeat), its first here is number "
        + "\(out.firstHeartbeat).")
    let check = try passage.check(destination)
    say("   Told to check all of its memory, it says: \(check.pages) pages, \(check.bad) wrong.")
  }
}
