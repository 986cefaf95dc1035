"""From any picture to what a finished run says of the faces in it."""
