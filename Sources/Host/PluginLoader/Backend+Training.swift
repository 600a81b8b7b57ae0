import Glibc
import PluginAPI

extension Backend {
  /// Bytes that the file of an option has at most; 0: it is no file.
  public func mostBytes(of option: String) -> Int {
    guard case .file(let range)? = options.first(where: { $0.name == option })?.kind else {
      return 0
    }
    return Int(range.upperBound)
  }

  /// The option whose file it makes: the first one that is a file.
  public var trainedOption: String? {
    options.first { if case .file = $0.kind { true } else { false } }?.name
  }

  /// Has it make the file of an option from pages. May take minutes; any thread.
  ///
  /// - Parameters:
  ///   - pages: whole pages of `pageSize` bytes, one after the other.
  ///   - most: bytes of the file.
  /// - Returns: the file, of 1 to `most` bytes.
  /// - Throws: `options` when it has no such option or makes no files, `setup` with its own reason,
  ///   `internalFault` when it breaks the interface's rules.
  public func train(
    _ option: String, from pages: UnsafeRawBufferPointer, pageSize: Int, most: Int
  ) throws(PluginError) -> OptionFile {
    let what = "\(name), option \(option)"
    guard let train = methods.train, let entry = options.first(where: { $0.name == option }),
      case .file(let range) = entry.kind
    else {
      throw PluginError(.options, what: what, why: "is nothing that \(name) makes of pages")
    }
    guard most > 0, range.contains(Int64(most)) else {
      throw PluginError(.options, what: what, why: "must be \(entry.kind.range), not \(most)")
    }
    precondition(pages.count % pageSize == 0, "pages are whole")
    var contents = [UInt8](repeating: 0, count: most)
    var error = [CChar](repeating: 0, count: 256)
    let status = contents.withUnsafeMutableBufferPointer { contents in
      error.withUnsafeMutableBufferPointer { error in
        option.withCString { option in
          // All of it is there during the call: the header asks for no more.
          var training = MultiFDTraining(
            struct_size: UInt32(MemoryLayout<MultiFDTraining>.size), page_size: UInt32(pageSize),
            pages: pages.baseAddress?.assumingMemoryBound(to: UInt8.self)
              ?? UnsafePointer(contents.baseAddress!),
            pages_num: UInt64(pages.count / pageSize), option: option,
            contents: contents.baseAddress!, capacity: UInt64(contents.count),
            error: error.baseAddress!, error_size: UInt64(error.count))
          return train(&training)
        }
      }
    }
    guard status > 0 else {
      error[error.count - 1] = 0
      let said = String(
        decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw PluginError(
        .setup, what: what, why: said.isEmpty ? "train() returned \(status)" : oneLine(said))
    }
    guard status <= most else {
      throw PluginError(
        .internalFault, what: what,
        why: "train() returned \(status) bytes, there is room for \(most)")
    }
    contents.removeLast(most - Int(status))
    return OptionFile(option: option, contents: contents)
  }
}
