"""The options of the `movie` entry point and what they say of themselves; imports nothing."""

OPTIONS = {
    "tracks": "Table of tracks (track, frame, x, y, parent, label), btrack's folder, or man_track.txt.",
    "outlines": "ImageJ outlines FRAME-CELL.roi: a folder, zip or tar archive.",
    "masks": "Movie of label images, 0 background.",
    "link": "yes, no or auto: join cells of neighbouring frames to tracks; auto joins masks.",
    "distance": "Pixels that a cell moves at most between two frames, for linking.",
    "columns": "The table's own column names: track=ID,frame=t.",
    "first": "Number of the first frame in the table of tracks; 0.",
    "channels": "Channels of the movie that the model sees, counted from 0, separated by commas.",
    "window": "Side in pixels of the square around a cell that the model sees.",
    "track": "A track that gets a movie of its own.",
    "attribution": "An explainer whose maps are laid over the cells.",
    "mitotic": "Stages that count for the mitotic index, separated by commas; by their names without it.",
    "interval": "Minutes between two frames of the movie.",
    "rate": "Frames a second of the overlay; 10.",
    "caption": "A warning that stands in every movie and figure.",
}
