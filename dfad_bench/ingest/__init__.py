"""From a release on disk to a manifest: read the files, find and crop the faces, write the rows."""
