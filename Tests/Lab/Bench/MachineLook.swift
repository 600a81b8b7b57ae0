import Foundation
import Results
import TestSupport

extension Machine {
  /// This one, now.
  ///
  /// - Parameter qemus: those that take part.
  static func here(_ qemus: [QEMUVersion]) throws -> Machine {
    func read(_ path: String) -> String {
      (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }
    let processors = read("/proc/cpuinfo")
    let pages = "/sys/kernel/mm/transparent_hugepage/"
    let home = try BenchHome(mebibytes: 64)
    defer { home.end() }
    let folder = URL(filePath: home.store).deletingLastPathComponent().path
    let total = Machine.value("MemTotal", in: read("/proc/meminfo"))?.split(separator: " ").first
    return Machine(
      processor: Machine.value("model name", in: processors) ?? "unknown",
      cores: ProcessInfo.processInfo.activeProcessorCount,
      isVirtual: Machine.value("flags", in: processors)?.contains(" hypervisor ") ?? false,
      memory: (total.flatMap { Int($0) } ?? 0) * 1024,
      kernel: Machine.choice(read("/proc/sys/kernel/osrelease")),
      hugePages: (
        Machine.choice(read(pages + "enabled")), Machine.choice(read(pages + "shmem_enabled"))
      ),
      store: Machine.fileSystem(of: folder, in: read("/proc/self/mounts")) ?? "unknown",
      qemus: qemus.map { "\(version(of: $0)), TCG" }, commit: commit,
      date: Date().ISO8601Format(), load: Double(read("/proc/loadavg").prefix { $0 != " " }) ?? 0)
  }

  /// What part of the processors' time others have while this process rests for a second.
  static func othersShare() -> Double {
    func look() -> (busy: Int, all: Int) {
      let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
      return Machine.ticks(text) ?? (0, 0)
    }
    let before = look()
    Thread.sleep(forTimeInterval: 1)
    let after = look()
    return Double(after.busy - before.busy) / Double(max(1, after.all - before.all))
  }

  /// `QEMU emulator version 11.1.0 (…)`.
  private static func version(of qemu: QEMUVersion) -> String {
    let fallback = "QEMU \(qemu)"
    guard let child = try? ChildProcess(qemu.command(["--version"])),
      child.wait(.seconds(30)) == .code(0), let line = child.output.lines.first?.text
    else { return fallback }
    return line.replacingOccurrences(of: "QEMU emulator version ", with: "")
  }

  /// The commit of the sources that this was built from.
  private static var commit: String {
    let root = URL(filePath: #filePath).deletingLastPathComponent().path
    func git(_ words: String...) -> String? {
      guard let child = try? ChildProcess(["/usr/bin/git", "-C", root] + words),
        child.wait(.seconds(30)) == .code(0)
      else { return nil }
      return child.output.text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    guard let commit = git("rev-parse", "--short=12", "HEAD") else { return "unknown" }
    // The page of an earlier run is no part of what is measured.
    let changes =
      git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs") ?? ""
    return changes.isEmpty ? commit : commit + ", with changes"
  }
}
