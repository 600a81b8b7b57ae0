import Foundation

/// What a process that runs may have at the most, set from outside (prlimit(2)).
public enum Limits {
  /// It gets no more of something than it has, or so many bytes of memory.
  public static func set(_ pid: pid_t, _ resource: Fault.Resource, more: Int) throws {
    let value: Int
    switch resource {
    case .memory: value = MemorySampler.bytes("VmSize", in: "/proc/\(pid)/status") + more
    case .descriptors: value = descriptors(pid)
    }
    try change(pid, resource, "\(value)")
  }

  /// It may have what it could before, where that was no less than the hard limit.
  public static func lift(_ pid: pid_t, _ resource: Fault.Resource) throws {
    let name = resource == .memory ? "Max address space" : "Max open files"
    let text = (try? String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)) ?? ""
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      let words = line.dropFirst(name.count).split(separator: " ")
      if words.count > 1 { return try change(pid, resource, String(words[1])) }
    }
  }

  /// How many it has open.
  static func descriptors(_ pid: pid_t) -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd"))?.count ?? 0
  }

  private static func change(_ pid: pid_t, _ resource: Fault.Resource, _ soft: String) throws {
    let option = resource == .memory ? "--as" : "--nofile"
    let process = try ChildProcess(["/usr/bin/prlimit", "--pid", "\(pid)", "\(option)=\(soft):"])
    guard process.wait(.seconds(10)) == .code(0) else {
      process.kill()
      throw LabError("prlimit of \(pid): \(process.errors.text)")
    }
  }
}
