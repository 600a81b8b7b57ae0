import Foundation

/// What the processes around a guest have of memory and descriptors, from fault to fault.
public struct ProcessTally: Sendable {
  private struct Entry {
    let pid: pid_t
    var looks = 1
    let first: (memory: Int, descriptors: Int)
    var last: (memory: Int, descriptors: Int)
  }

  private var entries: [Fault.Program: Entry] = [:]
  /// Programs whose process has lived through several faults: how it was at first, and at last.
  public private(set) var lines: [String] = []

  /// Nothing yet.
  public init() {}

  /// Looks at each process; one that is another now begins anew.
  ///
  /// - Throws: ``Inconsistency`` where one has more and more descriptors.
  public mutating func look(at guest: WholeGuest) throws {
    for program in Fault.Program.allCases where program != .spare {
      guard let pid = guest.pid(program) else { continue }
      let now = (
        MemorySampler.bytes("RssAnon", in: "/proc/\(pid)/status"), Limits.descriptors(pid)
      )
      if var entry = entries[program], entry.pid == pid {
        (entry.last, entry.looks) = (now, entry.looks + 1)
        entries[program] = entry
        guard now.1 <= entry.first.descriptors + Self.slack else {
          throw Inconsistency(
            "\(program) had \(entry.first.descriptors) descriptors and has \(now.1)")
        }
      } else {
        close(program)
        entries[program] = Entry(pid: pid, first: now, last: now)
      }
    }
  }

  /// The guest has ended.
  public mutating func close() { for program in Fault.Program.allCases { close(program) } }

  private mutating func close(_ program: Fault.Program) {
    guard let entry = entries.removeValue(forKey: program), entry.looks > 2 else { return }
    func mebibytes(_ bytes: Int) -> String { String(format: "%.1f", Double(bytes) / 1_048_576) }
    lines.append(
      "\(program), \(entry.looks) looks: \(mebibytes(entry.first.memory)) to "
        + "\(mebibytes(entry.last.memory)) MiB, "
        + "\(entry.first.descriptors) to \(entry.last.descriptors) descriptors")
  }

  /// Connections of disks and of memory come and go; what grows passes this.
  private static let slack = 12
}
