import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './console.css';
import { createRoot } from 'react-dom/client';
import { Console } from './Console';

createRoot(document.getElementById('console')!).render(<Console />);
