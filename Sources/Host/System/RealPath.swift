import Glibc

/// realpath(3): where a path leads, without links.
public func realPath(_ path: String) throws(SystemError) -> String {
  guard let real = realpath(path, nil) else { throw SystemError("realpath") }
  // It is ours, and a C string.
  defer { free(real) }
  return String(cString: real)
}
