import Foundation

/// A place for a store whose RAM is in huge pages: made by root, gone with this value.
public final class HugePageStore: Sendable {
  /// What keeps it.
  public enum Kind: String, Sendable, CaseIterable {
    /// A tmpfs of its own, with transparent huge pages.
    case tmpfs
    /// The machine's pool.
    case hugetlbfs
  }

  /// A folder for a store, in which there is no guest.
  public let path: String
  private let folder: TemporaryFolder
  private let mounted: String
  private let pool: Pool?

  /// Room for a guest.
  ///
  /// - Parameter bytes: of its RAM.
  public init(_ kind: Kind, bytes: Int) throws {
    // Below /dev, which every QEMU peer sees with all that is mounted in it.
    folder = try TemporaryFolder(.memory(bytes: 0))
    let words: [String]
    switch kind {
    case .tmpfs:
      pool = nil
      mounted = folder("memory")
      path = folder("memory/guest")
      // A cache of as much again, as a standby may have.
      words = [mounted, "--size", "\(bytes * 2)"]
    case .hugetlbfs:
      // Blocks that are shorter than a page take a whole one.
      pool = try Pool(pages: bytes >> 21 + 64)
      path = folder("guest")
      mounted = folder("guest/ram")
      words = [path, "--hugetlb"]
    }
    let mounting = try MultiFDProcess.run(["store", "mount"] + words)
    guard mounting.code == 0 else { throw LabError("multifd store mount: \(mounting)") }
  }

  deinit { end() }

  /// Takes it down.
  public func end() {
    umount2(mounted, Int32(MNT_DETACH))
    folder.remove()
    pool?.giveBack()
  }

  /// Pages that the machine's pool has more, as long as they are needed.
  private final class Pool: Sendable {
    private static let file = "/proc/sys/vm/nr_hugepages"
    private let held: Monitor<Int>
    /// One test at a time changes the number.
    private static let count = Monitor(())

    init(pages: Int) throws {
      held = Monitor(pages)
      let got = try Self.change(by: pages)
      guard got == pages else {
        _ = try? Self.change(by: -got)
        throw LabError("the kernel has \(got) huge pages of 2 MiB to give, not \(pages)")
      }
    }

    func giveBack() {
      let pages = held.update { held in
        defer { held = 0 }
        return held
      }
      if pages > 0 { _ = try? Self.change(by: -pages) }
    }

    /// By how many it has changed.
    private static func change(by pages: Int) throws -> Int {
      try count.update { _ in
        let before = try number()
        try Data("\(max(0, before + pages))".utf8).write(to: URL(fileURLWithPath: file))
        return try number() - before
      }
    }

    private static func number() throws -> Int {
      let text = try String(contentsOfFile: file, encoding: .utf8)
      guard let number = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
        throw LabError("\(file) says \(text)")
      }
      return number
    }
  }

  /// Why there can be none; nil when there can.
  public static func unavailable(_ kind: Kind) -> SkipReason? {
    if let reason = MultiFDProcess.unavailable { return reason }
    switch kind {
    case .tmpfs: return tmpfs
    case .hugetlbfs: return hugetlbfs
    }
  }

  private static let tmpfs: SkipReason? = {
    do {
      _ = try SmallFileSystem("size=64k,huge=within_size")
      return nil
    } catch { return announce("a tmpfs with huge pages", error) }
  }()

  private static let hugetlbfs: SkipReason? = {
    do {
      // As many as the tests want at a time, more or less.
      let pool = try Pool(pages: 256)
      pool.giveBack()
      return nil
    } catch { return announce("a hugetlbfs", error) }
  }()

  private static func announce(_ what: String, _ error: any Error) -> SkipReason {
    let reason = SkipReason("\(what) needs root and free memory (\(error))")
    reason.announce("stores on \(what)")
    return reason
  }
}
