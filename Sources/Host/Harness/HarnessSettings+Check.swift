import Glibc

extension HarnessSettings {
  /// Refuses what a run would look for in vain: a folder that is not there has nothing to find
  /// fault with, so the run would pass. Makes the folder that recordings go into.
  func check() throws(HarnessFault) {
    if let golden {
      if records, mkdir(golden, 0o777) != 0, errno != EEXIST {
        throw HarnessFault(
          "--golden \(golden): cannot be made: \(String(cString: strerror(errno)))", usage: true)
      }
      try Self.folder(golden, "--golden")
    }
    if let corpusFolder {
      mkdir(corpusFolder, 0o777)
      try Self.folder(corpusFolder, "--corpus-dir")
    }
    if let pageFile, PageFile(pageFile) == nil {
      throw HarnessFault(
        "--corpus \(pageFile): there is no such file of at least a page", usage: true)
    }
    for folder in pluginFolders { try Self.folder(folder, "--plugin-dir") }
    try Self.folder(artifacts, "--artifacts")
    for (option, path) in [
      ("--baseline", baseline), ("--replay", replay), ("--decode", decode?.path),
    ] {
      guard let path, Self.kind(path) != S_IFREG else { continue }
      throw HarnessFault("\(option) \(path): there is no such file", usage: true)
    }
  }

  private static func folder(_ path: String, _ option: String) throws(HarnessFault) {
    guard kind(path) == S_IFDIR else {
      throw HarnessFault("\(option) \(path): there is no such folder", usage: true)
    }
  }

  /// The file type bits of what is at `path`; nil when there is nothing.
  private static func kind(_ path: String) -> mode_t? {
    var status = stat()
    return stat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
  }
}
