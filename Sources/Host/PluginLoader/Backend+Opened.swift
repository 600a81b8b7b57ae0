import PluginAPI

extension Backend {
  /// Why the host refuses `assignments` for the backend whose table is at `address`; nil when it
  /// takes them, and when it would refuse the backend itself, for that is another matter.
  ///
  /// For who has opened the library already, in a process that is there for it: nothing is looked
  /// for, tried or opened here. The table lives as long as the process, as every open library's.
  package static func refusal(
    of assignments: [(key: String, value: String)], table address: UnsafeRawPointer, name: String
  ) -> PluginError? {
    guard let file = PluginFile(folder: "", file: "libmultifd-\(name).so"),
      let table = try? MethodsTable(TableCopy(address), of: file)
    else { return nil }
    do throws(PluginError) {
      _ = try Backend(table, path: file.path).parse(assignments)
      return nil
    } catch {
      return error
    }
  }
}
