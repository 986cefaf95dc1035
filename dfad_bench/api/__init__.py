"""The functions behind `import dfad_bench`, and behind the commands: one file a subject. Users import `dfad_bench`."""
