// The tests' own peers and tools: stock QEMUs driven over QMP, a guest that checks its own memory,
// a proxy that records or cuts TCP connections, the `multifd` executable as a child process.
//
// Everything here blocks the calling thread and ends by a time-out. What a machine lacks (a QEMU,
// the guest) is said by `Lab` and `QEMUVersion`, so that a test can be skipped loudly;
// Support/setup fetches it.

import Foundation

/// What the lab has on this machine. Support/setup puts it there.
public enum Lab {
  /// `MULTIFD_LAB`, else `~/.cache/multifd-lab`.
  public static let root: String = {
    let environment = ProcessInfo.processInfo.environment
    if let path = environment["MULTIFD_LAB"], !path.isEmpty { return path }
    return (environment["HOME"] ?? "/tmp") + "/.cache/multifd-lab"
  }()

  /// The guest's kernel.
  public static var kernel: String { root + "/guest/vmlinuz" }

  /// The guest's only program, as an initramfs.
  public static var initrd: String { root + "/guest/initrd.gz" }

  /// The program of the guest with disks and a network, and its drivers, as an initramfs.
  public static var disksInitrd: String { root + "/guest/disks.gz" }

  /// Why the guest cannot be booted here; nil when it can.
  public static let guestUnavailable: SkipReason? = unavailable(kernel, initrd)

  /// Why the guest with disks cannot be booted here; nil when it can.
  public static let diskGuestUnavailable: SkipReason? = unavailable(kernel, disksInitrd)

  private static func unavailable(_ files: String...) -> SkipReason? {
    for path in files where !FileManager.default.isReadableFile(atPath: path) {
      return SkipReason("the test guest is not there (no \(path)): run Support/setup")
    }
    return nil
  }

  /// Why there is no igzip, the backend that is built where ISA-L is; nil when there is.
  public static var igzipUnavailable: SkipReason? {
    access(executableFolder + "/libmultifd-igzip.so", R_OK) == 0
      ? nil : SkipReason("igzip was not built: there is no ISA-L (apt-get install libisal-dev)")
  }

  /// The folder of the running executable: SwiftPM puts every product of the package there.
  public static let executableFolder: String = {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return (path as NSString).deletingLastPathComponent
  }()
}

/// An error of the lab: something that should have worked did not, told in one sentence.
public struct LabError: Error, CustomStringConvertible {
  /// What happened.
  public let description: String

  /// An error that says `description`.
  public init(_ description: String) { self.description = description }
}

/// Why something is left out on this machine. Never silent: making one known prints it.
public struct SkipReason: Sendable, CustomStringConvertible {
  /// The reason, without the word SKIPPED.
  public let description: String

  /// A reason that says `description`.
  public init(_ description: String) { self.description = description }

  /// Prints `SKIPPED: what: reason` on stderr, once per text and process.
  public func announce(_ what: String) {
    let line = "SKIPPED: \(what): \(description)\n"
    guard Self.announced.update({ $0.insert(line).inserted }) else { return }
    FileHandle.standardError.write(Data(line.utf8))
  }

  private static let announced = Monitor<Set<String>>([])
}
