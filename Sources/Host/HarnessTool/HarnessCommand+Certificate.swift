import Certificates
import Glibc
import Harness
import Version

extension HarnessCommand {
  /// A run, and its certificate where one is wanted. The library is looked at before and behind:
  /// each test opens the file anew.
  func certified(
    _ settings: HarnessSettings,
    _ perform: (HarnessSettings) throws(HarnessFault) -> RunReport
  ) throws(HarnessFault) -> RunReport {
    guard let certificate else { return try perform(settings) }
    let before = Fingerprint(of: settings.path)
    let pages = settings.pageFile.map {
      (path: $0, stamp: Stamp($0), corpus: Certificate.Corpus(of: $0))
    }
    let report = try perform(settings)
    guard let before else { throw HarnessFault("--certificate: \(settings.path) cannot be read") }
    guard before == Fingerprint(of: settings.path) else {
      throw HarnessFault("\(settings.path) has changed while it was tried: no certificate")
    }
    if let pages, pages.corpus == nil || pages.stamp != Stamp(pages.path) {
      throw HarnessFault("\(pages.path) has changed while its pages were used: no certificate")
    }
    try report.certificate(of: before, harness: multifdVersion, corpus: pages?.corpus)
      .write(to: certificate)
    return report
  }
}

/// Whether a file has been written to, without reading it: a guest's memory is large.
private struct Stamp: Equatable {
  private let device: dev_t
  private let inode: ino_t
  private let size: off_t
  private let seconds: Int
  private let nanoseconds: Int

  /// Nil when there is nothing at `path`.
  init?(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    (device, inode, size) = (status.st_dev, status.st_ino, status.st_size)
    (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
  }
}
