import Glibc

/// realpath(3): where a path leads, without links.
public func realPath(_ path: String) throws(SystemError) -> String {
  guard let real = realpath(path, nil) else { throw SystemError("realpath") }
  // It is ours, and a C string.
  defer { free(real) }
  return String(cString: real)
}

/// A path as others will need it, who run elsewhere: from the root, with its links.
public func wholePath(_ path: String) -> String {
  guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
  // It is ours, and a C string.
  defer { free(folder) }
  return String(cString: folder) + "/" + path
}
