import PluginLoader
import Wire

/// The files that a hello's formats are encoded with, on the answering side: found by what is in
/// them, or named by the operator.
enum LinkFiles {
  /// The files of the format with this number in the hello.
  ///
  /// - Parameters:
  ///   - format: counted from 1; nil: the hello does not have it.
  ///   - named: options for which the operator has named a file.
  /// - Throws: for a file that is not here.
  static func find(
    _ hello: LinkHello, _ format: Int?, _ loader: PluginLoader, except named: CompressionSpec? = nil
  ) throws(LinkRefusal) -> [OptionFile] {
    var files: [OptionFile] = []
    for file in hello.files where file.format == format {
      if named?.assignments.contains(where: { $0.key == file.option }) == true { continue }
      let name = OptionFile.name(file.digest)
      guard let found = loader.dictionary(named: name, for: file.option) else {
        throw missing(file, of: hello)
      }
      files.append(found)
    }
    return files
  }

  /// Whether the files that the operator has named are those of the hello.
  static func compare(
    _ options: OptionValues, with hello: LinkHello, _ format: Int?
  ) throws(LinkRefusal) {
    for file in hello.files where file.format == format {
      guard options.files.contains(where: { $0.option == file.option && $0.digest == file.digest })
      else {
        throw LinkRefusal(
          "the file of \(file.option) is another one than \(OptionFile.name(file.digest)), with which "
            + "the connecting side encodes")
      }
    }
  }

  private static func missing(_ file: LinkFile, of hello: LinkHello) -> LinkRefusal {
    LinkRefusal(
      "\(hello.formats[file.format - 1].name) was asked for with a file for \(file.option) that the "
        + "answering side does not have: it looks for dictionaries/\(OptionFile.name(file.digest)) in its "
        + "folders of backends")
  }
}
